# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernels by name and the modules they are booted with. Data only."""

from __future__ import annotations

from typing import NamedTuple, Tuple

from .errors import HarnessError


class Kernel(NamedTuple):
    """A kernel by name: the newest linux-image-amd64 of these suites of the Debian archive."""

    name: str
    suites: Tuple[str, ...]
    summary: str


KERNELS = (
    Kernel('6.1', ('bookworm', 'bookworm-security'), 'Debian 12'),
    Kernel('6.12', ('trixie', 'trixie-security'), 'Debian 13'),
    Kernel('backports', ('trixie-backports',), 'the newest kernel backported to Debian 13'),
)

DEFAULT_KERNELS = ('6.1', '6.12')

# What the initramfs needs to reach the host's root; their dependencies come from modules.dep.
BOOT_MODULES = ('virtio_pci', '9pnet_virtio', '9p', 'overlay')

# Loaded before the job starts, so that a job is not the first to find one missing. br_netfilter is left out: it would
# pass bridged frames through iptables hooks and so change what every bridge of a lab does; a job may modprobe it.
JOB_MODULES = (
    'af_packet', 'veth', 'bridge', 'dummy', '8021q', 'macvlan', 'tun', 'vrf', 'openvswitch',
    'sch_netem', 'sch_ingress', 'inet_diag', 'tcp_diag', 'udp_diag',
    'nf_tables', 'nft_ct', 'nft_nat', 'nft_masq', 'nft_redir', 'nft_chain_nat',
    'nft_fib', 'nft_fib_ipv4', 'nft_fib_ipv6', 'nft_fib_inet', 'nft_reject_inet', 'nft_log', 'nft_limit', 'nft_numgen',
    'nf_flow_table', 'nf_flow_table_inet', 'nft_flow_offload', 'nf_conntrack_netlink',
)  # fmt: skip


def kernel_named(name: str) -> Kernel:
    """Return the kernel of that name; HarnessError names those there are."""
    for kernel in KERNELS:
        if kernel.name == name:
            return kernel
    raise HarnessError(f'kernel: {name!r}: one of {", ".join(kernel.name for kernel in KERNELS)}')
