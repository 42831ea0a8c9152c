# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof as a table that a person reads: plain text, columns aligned."""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

from .verdict import FAIL, INCOMPLETE, PASS, Verdict

_HEADINGS = ('client', 'VIP', 'flow', 'request', 'reply', 'answered', 'verdict', 'note')
_GROUP = 2


class _Row(NamedTuple):
    cells: Tuple[str, ...]
    times: int


def render(verdicts: Sequence[Verdict], label: str = '', control: bool = False) -> str:
    """Title, table and summary. Flows that went alike make one row, with how many they were."""
    rows = [row.cells[:2] + (_flow(row),) + row.cells[3:] for row in _rows(verdicts)]
    lines = [title(label, control), *_table(_without_repetition(rows)), summary(verdicts)]
    if control:
        lines.append(strays(verdicts))
    return '\n'.join(lines)


def title(label: str, control: bool) -> str:
    return ': '.join(part for part in ('Negative control' if control else 'Proof', label) if part)


def summary(verdicts: Sequence[Verdict]) -> str:
    counts = {word: sum(verdict.verdict == word for verdict in verdicts) for word in (PASS, FAIL, INCOMPLETE)}
    parts = [f'{count} {word}' for word, count in counts.items() if count or word == PASS]
    return f'{len(verdicts)} flows: {", ".join(parts)}'


def strays(verdicts: Sequence[Verdict]) -> str:
    """Where replies wrongly went, NIC by NIC, and how many flows got no reply at all."""
    by_nic: Dict[str, int] = {}
    for verdict in verdicts:
        for nic, count in verdict.wrong_replies.items():
            by_nic[nic] = by_nic.get(nic, 0) + count
    silent = sum(not verdict.replies for verdict in verdicts)
    parts = [f'{count} replies left by {nic}, the wrong NIC' for nic, count in sorted(by_nic.items())]
    if silent:
        parts.append(f'{silent} requests got no reply at all')
    return 'Without a policy: ' + ('; '.join(parts) or 'no reply went astray')


def _rows(verdicts: Sequence[Verdict]) -> List[_Row]:
    """Grouped by client, then VIP (so by family), in the order given; equal ones counted."""
    groups: Dict[Tuple[str, str], Dict[Tuple[str, ...], int]] = {}
    for verdict in verdicts:
        cells = _cells(verdict)
        group = groups.setdefault((verdict.client, verdict.vip), {})
        group[cells] = group.get(cells, 0) + 1
    return [_Row(cells, times) for group in groups.values() for cells, times in group.items()]


def _cells(verdict: Verdict) -> Tuple[str, ...]:
    return (
        verdict.client,
        verdict.vip,
        flow_name(verdict),
        _nics(verdict.requests),
        _nics(verdict.replies),
        'yes' if verdict.answered else 'no',
        verdict.verdict,
        _note(verdict),
    )


def flow_name(verdict: Verdict) -> str:
    """Such as 'icmp', 'tcp 8080', 'udp dnat 9080'."""
    parts = [verdict.kind, '' if verdict.path == 'host' else verdict.path, str(verdict.port or '')]
    return ' '.join(part for part in parts if part)


def _note(verdict: Verdict) -> str:
    """What a pmtu flow met belongs to its success: the kernel knows a path for ten minutes, then needs none."""
    if not verdict.passed:
        return verdict.reason
    if verdict.kind != 'pmtu':
        return ''
    return 'a packet too big was told' if verdict.ptb else 'no packet was too big'


def _flow(row: _Row) -> str:
    return row.cells[2] if row.times == 1 else f'{row.cells[2]} x{row.times}'


def _nics(counted: Mapping[str, int]) -> str:
    return ' '.join(counted) or '-'


def _without_repetition(rows: Sequence[Tuple[str, ...]]) -> List[Tuple[str, ...]]:
    """Client and VIP are shown where they change; there a rule is drawn, too."""
    shown: List[Tuple[str, ...]] = []
    last: Tuple[str, ...] = ()
    for row in rows:
        if row[:_GROUP] == last:
            row = ('',) * _GROUP + row[_GROUP:]
        else:
            last = row[:_GROUP]
        shown.append(row)
    return shown


def _table(rows: Sequence[Tuple[str, ...]]) -> List[str]:
    widths = [max(len(cell) for cell in column) for column in zip(_HEADINGS, *rows)]
    rule = '-' * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_line(_HEADINGS, widths)]
    for row in rows:
        if row[0]:
            lines.append(rule)
        lines.append(_line(row, widths))
    return [*lines, rule]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return '  '.join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()
