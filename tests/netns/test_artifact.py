# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The built and installed collection: what is in it, its documentation, and its playbooks by their full names."""

from __future__ import annotations

import json
import os
import re
from typing import Iterator, Tuple

import house
import pytest
from artifact import Installed

#: Without these the playbooks still work: they are for readers.
NOT_NEEDED = ('docs', 'changelogs', 'LICENSES')
LAB = ('-e', f'lab_name=art{os.getpid()}')


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp('artifact'))


def test_it_holds_what_users_need_and_no_more(installed: Installed) -> None:
    there = {path.name for path in installed.path.iterdir()}
    needed = {'plugins', 'roles', 'playbooks', 'meta', 'inventory', 'images', 'README.md', 'CHANGELOG.rst', 'LICENSE'}
    made = {'MANIFEST.json', 'FILES.json', 'REUSE.toml', 'CONTRIBUTING.md', 'CODE_OF_CONDUCT.md'}
    assert there == {*needed, *made, *NOT_NEEDED}
    assert not (installed.path / 'playbooks/collections').exists()


@pytest.mark.parametrize(
    ('kind', 'names'),
    [('module', tuple(sorted(house.modules()))), ('connection', ('netns',)), ('role', tuple(house.roles()))],
)
def test_everything_is_documented(installed: Installed, kind: str, names: Tuple[str, ...]) -> None:
    full = [f'returntraffic.net.{name}' for name in names]
    shown = json.loads(installed.run('ansible-doc', '--json', '-t', kind, *full))
    assert sorted(shown) == sorted(full)
    described = shown.values() if kind != 'role' else [item['entry_points']['main'] for item in shown.values()]
    for item in described:
        item = item.get('doc', item)
        assert item['description'] and item['short_description']


@pytest.fixture
def lab_inventory(installed: Installed) -> Iterator[Tuple[str, str]]:
    inventory = ('-i', str(installed.path / 'inventory/bare'))
    yield inventory
    installed.run('ansible-playbook', 'returntraffic.net.down', *inventory, *LAB)


def test_the_bare_lab_works_by_its_full_name(installed: Installed, lab_inventory: Tuple[str, str]) -> None:
    output = installed.run('ansible-playbook', 'returntraffic.net.bare', *lab_inventory, *LAB)
    assert re.findall(r'(\d+) flows: (\d+) PASS', output) == [('60', '0'), ('60', '60')]
    assert (installed.folder / 'reports/proof.json').exists()
