# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image set: what it is made from, in which order, and when a part has to be made again."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Set

import pytest

from images import __main__ as command
from images import keys, recipes, workshop
from images.errors import ImagesError

BUILT = keys.units('build')


@pytest.mark.parametrize('source', ['build', 'pull'])
def test_each_unit_comes_after_what_it_is_made_from(source: str) -> None:
    seen: Set[str] = set()
    for unit in keys.units(source):
        needed = {one for one in keys.made_from(unit) if source == 'build' or not one.startswith('go-')}
        assert needed <= seen, keys.identity(unit)
        seen.add(keys.identity(unit))


def test_programs_that_images_take_are_tools_of_their_module() -> None:
    for image in recipes.IMAGES:
        for module, program in image.programs:
            text = (keys.HERE / module / 'go.mod').read_text()
            paths = re.findall(r'^(?:tool )?\t?([\w.-]+\.\S+/\S+)$', text, re.M)
            tools = {path.split('/')[-1] for path in paths}
            assert program in tools or program == 'etcd', f'{image.name}: {program} is not among {sorted(tools)}'


def test_versions_in_names_are_those_of_the_modules() -> None:
    assert f'k8s.io/kubernetes {recipes.KUBERNETES}' in (keys.HERE / 'kubernetes' / 'go.mod').read_text()
    assert f'go.universe.tf/metallb {recipes.METALLB}' in (keys.HERE / 'metallb' / 'go.mod').read_text()


def test_every_folder_has_what_its_image_needs() -> None:
    for image in recipes.IMAGES:
        assert (keys.HERE / image.folder / 'Dockerfile').is_file(), image.name
    for tool in recipes.TOOLS:
        assert {path.name for path in keys.files(tool)} == {'go.mod', 'go.sum'}


def test_a_changed_file_changes_its_image_and_what_is_made_from_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(keys.HERE, tmp_path / 'images', ignore=shutil.ignore_patterns('__pycache__'))
    monkeypatch.setattr(keys, 'HERE', tmp_path / 'images')
    before = keys.keys('build')
    with (tmp_path / 'images' / 'frr' / 'Dockerfile').open('a') as dockerfile:
        dockerfile.write('# changed\n')
    after = keys.keys('build')
    assert {name for name in before if before[name] != after[name]} == {'image-frr', 'image-node'}


def test_the_estimate_of_a_time_is_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys.keys('build')
    monkeypatch.setattr(recipes, 'BASES', tuple(base._replace(minutes=7) for base in recipes.BASES))
    assert keys.keys('build') == before


def test_what_is_pulled_is_not_what_is_made() -> None:
    pulled, built = keys.keys('pull'), keys.keys('build')
    assert set(pulled) == {name for name in built if not name.startswith('go-')}
    assert pulled['image-node'] != built['image-node']
    made = {keys.identity(unit) for unit in keys.units('pull') if not keys.pulled(unit, 'pull')}
    assert made == {'image-echo', 'image-node'}


def test_a_name_that_is_not_there_is_named() -> None:
    with pytest.raises(ImagesError, match='no such unit: image-nothing; there are: go-kind'):
        command.wanted(['image-nothing'], 'build')


def test_a_part_brings_what_it_is_made_from() -> None:
    chosen = [keys.identity(unit) for unit in command.wanted(['image-metallb-speaker'], 'build')]
    assert chosen == ['go-metallb', 'image-metallb-speaker']


def test_names_are_unique() -> None:
    tags = [tag for unit in BUILT for tag in workshop.tags_of(unit)]
    assert len(tags) == len(set(tags))
    assert len(BUILT) == len({keys.identity(unit) for unit in BUILT})


def test_the_echo_server_is_whole_without_the_rest_of_the_collection(tmp_path: Path) -> None:
    module_utils = tmp_path / 'ansible_collections/returntraffic/net/plugins/module_utils'
    for name in keys.ECHO_SERVER:
        (module_utils / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(keys.MODULE_UTILS / name, module_utils / name)
    imports = [
        line for line in (keys.HERE / 'echo/serve.py').read_text().splitlines() if line.startswith('from ansible')
    ]
    assert imports
    subprocess.run(
        [
            sys.executable,
            '-I',
            '-c',
            f'import sys; sys.path[:] = [{str(tmp_path)!r}, *sys.path[:3]]\n' + '\n'.join(imports),
        ],
        check=True,
    )
