# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ways to fail: what the user wrote is wrong, or the kernel refused it."""

from __future__ import annotations


class PolicyError(Exception):
    """Bad input or a state that forbids the change. Nothing was changed.

    The message is one line that names the key, the value and what is allowed.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key = _one_line(key)
        self.value = value
        self.allowed = _one_line(allowed)
        super().__init__(f'{self.key}: {_shown(value)}: {self.allowed}')


class KernelError(Exception):
    """The kernel (or nft) refused an object; carries its own words and the object."""

    def __init__(self, operation: str, subject: str, reason: str, errno: int = 0) -> None:
        self.operation = operation
        self.subject = subject
        self.reason = reason
        self.errno = errno
        super().__init__(f'{operation} {subject}: {reason}')


def _one_line(text: str) -> str:
    """A key may be anything a user has written as one; nothing in it may break the line."""
    return ''.join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _shown(value: object, limit: int = 120) -> str:
    """A value as one short line, so that an error stays one line whatever the input was."""
    text = repr(str(value)) if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[:limit] + '...'
