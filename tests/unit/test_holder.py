# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an unprivileged user's lab is found again, and why it is refused."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import KernelError, PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.lab import holder, processes, records


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that may hold records, as XDG_RUNTIME_DIR would have it."""
    directory = tmp_path / 'returntraffic'
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(['sleep', '600']) as process:
        yield process
        process.kill()


def written(place: Path, pid: int, **change: Any) -> None:
    """A record of a process, true but for `change`."""
    user = os.readlink(f'/proc/{pid}/ns/user')
    data: Dict[str, Any] = {'pid': pid, 'start': processes.start_time(pid), 'user': user, **change}
    (place / 'rt.json').write_text(json.dumps(data))


def found(place: Path) -> Any:
    return records.find('rt', os.getuid(), {'XDG_RUNTIME_DIR': str(place.parent)})


def test_a_living_holder_is_found(place: Path, sleeper: subprocess.Popen[bytes]) -> None:
    written(place, sleeper.pid)
    assert found(place).pid == sleeper.pid
    assert found(place).path('/run/x') == f'/proc/{sleeper.pid}/root/run/x'


def test_a_recycled_pid_is_no_holder(place: Path, sleeper: subprocess.Popen[bytes]) -> None:
    written(place, sleeper.pid, start=1)
    assert found(place) is None


def test_a_process_in_another_user_namespace_is_no_holder(place: Path, sleeper: subprocess.Popen[bytes]) -> None:
    written(place, sleeper.pid, user='user:[1]')
    assert found(place) is None


def test_a_dead_holder_is_none(place: Path, sleeper: subprocess.Popen[bytes]) -> None:
    written(place, sleeper.pid)
    sleeper.kill()
    # Not yet waited for: a zombie still has its pid and start time.
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert found(place) is None
    sleeper.wait()
    assert found(place) is None


@pytest.mark.parametrize('text', ['', '{}', '[]', '{"pid": "x"}', '{"pid": 1, "start": null, "user": 1}', 'null', '7'])
def test_a_broken_record_is_none(place: Path, text: str) -> None:
    (place / 'rt.json').write_text(text)
    assert found(place) is None


def test_a_directory_that_others_can_write_is_not_believed(place: Path, sleeper: subprocess.Popen[bytes]) -> None:
    written(place, sleeper.pid)
    place.chmod(0o770)
    assert found(place) is None


def test_a_link_to_a_directory_is_not_believed(place: Path, tmp_path: Path) -> None:
    link = tmp_path / 'link'
    link.symlink_to(place)
    assert records.trusted(str(place), os.getuid())
    assert not records.trusted(str(link), os.getuid())


def test_the_directory_of_another_user_is_not_believed(place: Path) -> None:
    assert not records.trusted(str(place), os.getuid() + 1)


def test_all_places_are_searched_and_the_runtime_directory_first() -> None:
    uid = os.geteuid()
    usual = [f'/run/user/{uid}/returntraffic', f'/tmp/returntraffic-{uid}']
    assert records.directories(uid, {}) == usual
    assert records.directories(uid, {'XDG_RUNTIME_DIR': '/x'}) == ['/x/returntraffic', *usual]
    assert records.directories(uid, {'XDG_RUNTIME_DIR': 'x'}) == usual
    assert records.directories(uid + 1, {'XDG_RUNTIME_DIR': '/x'}) == [
        place.replace(str(uid), str(uid + 1)) for place in usual
    ]


def test_no_directory_is_an_error_that_names_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(records, 'directories', lambda uid, environment: [str(tmp_path / 'no' / 'such')])
    with pytest.raises(PolicyError, match='no/such'):
        records.directory_for_writing(os.getuid(), {})


REFUSED = KernelError('unshare', 'user namespace', 'Operation not permitted', 1)


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('kernel.unprivileged_userns_clone', '0'),
        ('user.max_user_namespaces', '0'),
        ('kernel.apparmor_restrict_unprivileged_userns', '1'),
        ('user.max_net_namespaces', '0'),
    ],
)
def test_a_refusal_names_the_setting_and_its_value(name: str, value: str) -> None:
    allowed = {'kernel.unprivileged_userns_clone': '1', 'user.max_user_namespaces': '63000'}
    text = holder.refusal(REFUSED, {**allowed, name: value})
    assert f'{name} is {value} and would have to be' in text
    assert 'Operation not permitted' in text
    assert text.count(' would have to be ') == 1


def test_a_refusal_without_a_culprit_tells_what_was_looked_at() -> None:
    text = holder.refusal(REFUSED, {'user.max_user_namespaces': '63000'})
    assert 'no known setting forbids it (user.max_user_namespaces=63000)' in text


def test_settings_are_read_from_the_kernel() -> None:
    assert int(holder.read_settings()['user.max_user_namespaces']) >= 0
