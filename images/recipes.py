# SPDX-License-Identifier: GPL-3.0-or-later
"""What the set consists of, in the order in which it is made. Data only.

Versions of Go modules stand in their go.mod. Image names are those of the upstream manifests, so that one set of
manifests serves both who pulls and who builds.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Tuple

KUBERNETES = 'v1.34.4'
METALLB = 'v0.15.2'

#: Names that other files of the project use, too.
NODE = f'returntraffic/node:{KUBERNETES}'
OVN = 'ghcr.io/ovn-kubernetes/ovn-kubernetes/ovn-kube-ubuntu:release-1.0'


class Tools(NamedTuple):
    """Static programs of one Go module; `variables` are set by the linker."""

    name: str
    minutes: float
    variables: Tuple[Tuple[str, str], ...] = ()


class Base(NamedTuple):
    """A minimal Debian."""

    name: str
    suite: str
    minutes: float = 1


class Image(NamedTuple):
    """A Docker image from a folder with a Dockerfile."""

    name: str
    tags: Tuple[str, ...]
    folder: str
    #: Programs that go to bin/ of the build context, by the Tools that they come from.
    programs: Tuple[Tuple[str, str], ...] = ()
    #: Paths inside of a Go module that go to module/ of the build context: (Tools, module, path).
    sources: Tuple[Tuple[str, str, str], ...] = ()
    #: Build arguments; a value that is the name of a Base becomes its tag.
    arguments: Tuple[Tuple[str, str], ...] = ()
    #: Images (by name) that the Dockerfile starts from or copies from.
    after: Tuple[str, ...] = ()
    #: Images (by name) that are put into the containerd of this one, which is a kind node.
    preloaded: Tuple[str, ...] = ()
    minutes: float = 1
    #: Whether an image of this name can be pulled.
    public: bool = True


def _kubernetes_variables() -> Tuple[Tuple[str, str], ...]:
    _, minor, _ = KUBERNETES.split('.')
    package = 'k8s.io/component-base/version'
    values = {'gitVersion': KUBERNETES, 'gitMajor': '1', 'gitMinor': minor, 'gitTreeState': 'clean'}
    values.update(gitCommit='0', buildDate='1970-01-01T00:00:00Z')
    return (*((f'{package}.{key}', value) for key, value in values.items()), (
        'k8s.io/client-go/pkg/version.gitVersion', KUBERNETES,
    ))  # fmt: skip


def _control_plane(name: str) -> Image:
    return Image(
        name, (f'registry.k8s.io/{name}:{KUBERNETES}',), 'static', programs=(('kubernetes', name),), minutes=0.1
    )


TOOLS = (
    Tools('kind', 0.5),
    Tools('etcd', 1),
    Tools('metallb', 3),
    Tools('ovn-kubernetes', 3),
    Tools('kubernetes', 9, _kubernetes_variables()),
)
BASES = (Base('bookworm', 'bookworm'), Base('trixie', 'trixie'))
CONTROL_PLANE = ('kube-apiserver', 'kube-controller-manager', 'kube-scheduler')
IMAGES = (
    Image(
        'pause',
        ('registry.k8s.io/pause:3.10', 'registry.k8s.io/pause:3.10.1'),
        'pause',
        arguments=(('BASE', 'trixie'),),
        minutes=0.3,
    ),
    *(_control_plane(name) for name in CONTROL_PLANE),
    Image('etcd', ('registry.k8s.io/etcd:3.6.5-0',), 'static', programs=(('etcd', 'etcd'),), minutes=0.1),
    Image(
        'kindest-node',
        (f'kindest/node:{KUBERNETES}',),
        'kindest-node',
        programs=(('kubernetes', 'kubeadm'), ('kubernetes', 'kubelet'), ('kubernetes', 'kubectl')),
        sources=(('kind', 'sigs.k8s.io/kind', 'images/base/files'),),
        arguments=(('BASE', 'bookworm'), ('VERSION', KUBERNETES)),
        preloaded=('pause', 'etcd', *CONTROL_PLANE),
        minutes=2,
    ),
    Image(
        'ovn-kubernetes',
        (OVN,),
        'ovn-kubernetes',
        programs=tuple(
            ('ovn-kubernetes', name) for name in ('ovnkube', 'ovn-k8s-cni-overlay', 'ovn-kube-util', 'ovnkube-identity')
        ),
        arguments=(('BASE', 'trixie'),),
    ),
    Image('frr', ('quay.io/frrouting/frr:9.1.0',), 'frr', arguments=(('BASE', 'trixie'),)),
    Image(
        'metallb-controller',
        (f'quay.io/metallb/controller:{METALLB}',),
        'metallb-controller',
        programs=(('metallb', 'controller'),),
        minutes=0.1,
    ),
    Image(
        'metallb-speaker',
        (f'quay.io/metallb/speaker:{METALLB}',),
        'metallb-speaker',
        programs=(('metallb', 'speaker'), ('metallb', 'cp-tool'), ('metallb', 'metrics')),
        sources=(('metallb', 'go.universe.tf/metallb', 'frr-tools/reloader'),),
        minutes=0.1,
    ),
    Image('echo', ('returntraffic/echo:1',), 'echo', arguments=(('BASE', 'trixie'),), public=False),
    Image(
        'node',
        (NODE,),
        'node',
        arguments=(('NODE', f'kindest/node:{KUBERNETES}'), ('BASE', 'trixie')),
        after=('kindest-node',),
        preloaded=('ovn-kubernetes', 'frr', 'metallb-controller', 'metallb-speaker', 'echo'),
        minutes=2,
        public=False,
    ),
)

#: The public images of the bases.
PUBLIC_BASES: Dict[str, str] = {'bookworm': 'debian:bookworm-slim', 'trixie': 'debian:trixie-slim'}
