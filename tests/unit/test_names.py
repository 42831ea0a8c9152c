# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of tables and protocols, from files as distributions have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.names import (
    parse_names,
    protocol_names,
    table_id,
    table_names,
)
from hypothesis import given
from hypothesis import strategies as some


def test_lines_as_people_write_them() -> None:
    text = '# reserved\n255\tlocal\n  0x65   blue # a comment\n\n#1 inr.ruhep\n102\nnonsense here\n103 red more words\n'
    assert parse_names(text) == {'local': 255, 'blue': 101, 'red': 103}


@given(some.text())
def test_any_file_is_read(text: str) -> None:
    assert all(isinstance(number, int) for number in parse_names(text).values())


@pytest.fixture
def directories(tmp_path: Path) -> Any:
    usr, etc = tmp_path / 'usr', tmp_path / 'etc'
    for directory in (usr, etc / 'rt_tables.d', etc / 'rt_protos.d'):
        directory.mkdir(parents=True)
    (usr / 'rt_tables').write_text('254 main\n77 storage\n78 backup\n')
    (etc / 'rt_tables').write_text('79 storage\n')
    (etc / 'rt_tables.d' / 'b.conf').write_text('80 late\n')
    (etc / 'rt_tables.d' / 'a.conf').write_text('81 late\n82 early\n')
    (etc / 'rt_tables.d' / 'README').write_text('83 readme\n')
    (etc / 'rt_protos.d' / 'a.conf').write_text('201 returntraffic\n')
    return str(usr), str(tmp_path / 'missing'), str(etc)


def test_the_administrators_files_win(directories: Any) -> None:
    assert table_names(directories) == {
        'unspec': 0, 'default': 253, 'main': 254, 'local': 255, 'storage': 79, 'backup': 78, 'late': 80, 'early': 82,
    }  # fmt: skip
    assert protocol_names(directories)['returntraffic'] == 201


def test_tables_have_names_without_any_file() -> None:
    assert table_names(()) == {'unspec': 0, 'default': 253, 'main': 254, 'local': 255}
    assert protocol_names(())['static'] == 4


NAMES = {'unspec': 0, 'main': 254, 'storage': 77, '5': 6}


@pytest.mark.parametrize(
    ('value', 'number'), [(77, 77), ('77', 77), ('0x4d', 77), ('storage', 77), (4294967295, 4294967295), ('5', 6)]
)
def test_a_table_by_number_or_name(value: object, number: int) -> None:
    assert table_id('table', value, NAMES) == number


@pytest.mark.parametrize('value', ['nosuch', '', 0, '0', 'unspec', -1, 4294967296, True, None, [254], 1.5])
def test_what_is_no_table_is_told_with_all_there_are(value: object) -> None:
    with pytest.raises(PolicyError, match='^routes.3..table: .* 1 to 4294967295 and the names 5, storage, main'):
        table_id('routes[3].table', value, NAMES)
