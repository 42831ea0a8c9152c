# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of kernel objects as values, sent in bulk and taken back when the kernel refuses one."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from ..errors import KernelError
from .netlink import Message, Netlink, Refusal

ADD, DELETE, REPLACE = 'add', 'delete', 'replace'
_INVERSE: Dict[str, str] = {ADD: DELETE, DELETE: ADD, REPLACE: REPLACE}


class Change(NamedTuple):
    """One step: add or delete `subject`, or put `subject` in the place of `former` without a gap."""

    operation: str
    subject: Any
    former: Optional[Any] = None


def inverse(change: Change) -> Change:
    """The change that takes this one back."""
    if change.operation == REPLACE:
        return Change(REPLACE, change.former, change.subject)
    return Change(_INVERSE[change.operation], change.subject)


def send_changes(
    netlink: Netlink,
    changes: Sequence[Change],
    message: Callable[[Change], Message],
    text: Callable[[Any], str],
) -> None:
    """Makes all changes in order, or none: at the first refusal what was done is taken back.

    `message` encodes a change, `text` shows an object to a person. Raises KernelError with the
    object that was refused and the kernel's own words, and with what could not be taken back.
    Nothing is deleted before all that stands ahead of the first deletion has been taken.
    """
    made: List[Change] = []
    deletion = next((place for place, change in enumerate(changes) if change.operation == DELETE), len(changes))
    for phase in (changes[:deletion], changes[deletion:]):
        outcomes = netlink.send([message(change) for change in phase], stop=True)
        made += [change for change, refusal in zip(phase, outcomes) if refusal is None]
        for change, refusal in zip(phase, outcomes):
            if refusal is not None:
                raise _refused(change, refusal, _take_back(netlink, made, message, text), text)


def _take_back(
    netlink: Netlink, done: Sequence[Change], message: Callable[[Change], Message], text: Callable[[Any], str]
) -> List[str]:
    """Undoes changes, the last one first; what could not be undone, as text."""
    undo = [inverse(change) for change in reversed(done)]
    outcomes = netlink.send([message(change) for change in undo])
    return [
        f'{change.operation} {text(change.subject)}: {outcome.reason}'
        for change, outcome in zip(undo, outcomes)
        if outcome is not None
    ]


def _refused(change: Change, refusal: Refusal, left: List[str], text: Callable[[Any], str]) -> KernelError:
    after = f'; could not be taken back: {", ".join(left)}' if left else '; nothing was changed'
    return KernelError(change.operation, text(change.subject), refusal.reason + after, refusal.errno)
