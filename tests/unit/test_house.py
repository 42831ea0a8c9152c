# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of this house: short functions, documented defaults, a complete action group."""

from __future__ import annotations

import statistics

import house
import pytest


def test_no_function_is_long() -> None:
    found = house.functions(*house.FOLDERS)
    assert len(found) > 500
    assert [function for function in found if function.lines > house.LONGEST] == []


@pytest.mark.parametrize('folder', ['plugins', 'tests'])
def test_functions_are_short_for_the_most_part(folder: str) -> None:
    assert statistics.median(function.lines for function in house.functions(folder)) <= house.MEDIAN


@pytest.mark.parametrize('role', house.roles())
def test_a_role_documents_the_defaults_it_has(role: str) -> None:
    """An option that is required or may be left out has none in defaults/main.yml that would hide that."""
    options = house.options_of(role)
    documented = {name: option['default'] for name, option in options.items() if 'default' in option}
    assert documented == house.defaults_of(role)
    assert [name for name, option in options.items() if option.get('required') and 'default' in option] == []


@pytest.mark.parametrize('role', house.roles())
def test_a_role_names_its_options_after_itself(role: str) -> None:
    assert [name for name in house.options_of(role) if not name.startswith(f'{role}_')] == []


def test_every_module_is_in_the_action_group() -> None:
    assert house.action_group() == house.modules()
