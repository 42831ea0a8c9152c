# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof as a table that a person reads: plain text, columns aligned."""

from __future__ import annotations

import textwrap
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

from .verdict import FAIL, INCOMPLETE, PASS, Verdict

_HEADINGS = ('client', 'VIP', 'request', 'reply', 'answered', 'verdict', 'flows')
_GROUP = 2
#: Characters that the flows of one row may take before they go on in the next line.
_WIDTH = 72


class _Row(NamedTuple):
    cells: Tuple[str, ...]
    flows: Dict[str, int]


def render(verdicts: Sequence[Verdict], label: str = '', control: bool = False) -> str:
    """Title, table and summary. A row is all flows of a client to a VIP that went alike."""
    rows = [cells for row in _rows(verdicts) for cells in _lines(row)]
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
    """Grouped by client, then VIP (so by family), then by what became of them, each in the order given."""
    groups: Dict[Tuple[str, str], Dict[Tuple[str, ...], _Row]] = {}
    for verdict in verdicts:
        cells = _cells(verdict)
        row = groups.setdefault((verdict.client, verdict.vip), {}).setdefault((*cells, _note(verdict)), _Row(cells, {}))
        flow = _flow(verdict)
        row.flows[flow] = row.flows.get(flow, 0) + 1
    return [_noted(row, key[-1]) for group in groups.values() for key, row in group.items()]


def _cells(verdict: Verdict) -> Tuple[str, ...]:
    return (
        verdict.client,
        verdict.vip,
        _nics(verdict.requests),
        _nics(verdict.replies),
        'yes' if verdict.answered else 'no',
        verdict.verdict,
    )


def _noted(row: _Row, note: str) -> _Row:
    return _Row(row.cells, {**row.flows, note: 1}) if note else row


def _lines(row: _Row) -> List[Tuple[str, ...]]:
    """The row's flows, in as many lines as they need."""
    names = [flow if times == 1 else f'{flow} x{times}' for flow, times in row.flows.items()]
    text = textwrap.wrap(', '.join(names), _WIDTH, break_long_words=False, break_on_hyphens=False)
    blank = (*row.cells[:_GROUP], *('' for _cell in row.cells[_GROUP:]))
    return [(*(row.cells if at == 0 else blank), line) for at, line in enumerate(text)]


def flow_name(verdict: Verdict) -> str:
    """Such as 'icmp', 'tcp 8080', 'udp dnat 9080'."""
    parts = [verdict.kind, '' if verdict.path == 'host' else verdict.path, str(verdict.port or '')]
    return ' '.join(part for part in parts if part)


def _note(verdict: Verdict) -> str:
    """The reason, where the NICs of request and reply do not tell it already."""
    if verdict.passed or (verdict.requests and verdict.replies and not verdict.answered):
        return ''
    return f'({verdict.reason})'


def _flow(verdict: Verdict) -> str:
    """A pmtu flow that was told `packet too big` says so; the kernel then knows the path for ten minutes."""
    name = flow_name(verdict)
    return f'{name} (ptb)' if verdict.kind == 'pmtu' and verdict.ptb else name


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
