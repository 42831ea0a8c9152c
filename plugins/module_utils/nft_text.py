# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nft objects as text for diffs and explanations, in nft's own notation for all that strategies build."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

from .nft import FAMILY, SAVED, TABLE, Chain, NftRule, NftTable, VerdictMap

_WORDS = {'return': 'return', 'accept': 'accept', 'drop': 'drop', 'counter': 'counter'}


def table_lines(table: Optional[NftTable]) -> List[str]:
    """One line an object, each complete in itself, so that a diff of sorted lines can be read."""
    if table is None:
        return []
    head = f'nft {FAMILY} {TABLE}'
    return [
        head,
        *(f'{head} {line}' for chain in table.chains for line in _chain_lines(chain)),
        *(f'{head} {line}' for item in table.maps for line in _map_lines(item)),
        *(f'{head} {SAVED} {path}={value}' for path, value in sorted(table.saved.items())),
    ]


def _chain_lines(chain: Chain) -> List[str]:
    hook = chain.hook
    attached = f' (type {hook.type} hook {hook.hook} priority {hook.priority})' if hook else ''
    return [f'chain {chain.name}{attached}', *(f'chain {chain.name}: {rule_text(item)}' for item in chain.rules)]


def _map_lines(item: VerdictMap) -> List[str]:
    return [f'map {item.name}: {key} : goto {target}' for key, target in item.elements.items()]


def rule_text(item: NftRule) -> str:
    """A rule as nft would list it, with its comment."""
    statements = ' '.join(_statement(json.loads(text)) for text in item.expressions)
    return f'{statements} comment "{item.comment}"' if item.comment else statements


def _statement(statement: Dict[str, Any]) -> str:
    kind, body = next(iter(statement.items()))
    if kind == 'match':
        plain = body['op'] == '==' and '&' not in body['left']
        operator = '' if plain else f'{body["op"]} '
        return f'{_expression(body["left"])} {operator}{_expression(body["right"])}'
    if kind == 'mangle':
        zone = body['key'].get('ct', {}).get('key') == 'zone'
        return f'{_expression(body["key"])} set {body["value"] if zone else _expression(body["value"])}'
    if kind == 'vmap':
        return f'{_expression(body["key"])} vmap {_expression(body["data"])}'
    if kind == 'goto':
        return f'goto {body["target"]}'
    return _WORDS.get(kind) or json.dumps(statement, sort_keys=True)


def _expression(value: Any) -> str:
    if isinstance(value, bool):
        return 'exists' if value else 'missing'
    if not isinstance(value, (dict, int)):
        return str(value)
    if isinstance(value, int):
        return f'{value:#010x}'
    kind, body = next(iter(value.items()))
    if kind == 'ct':
        return ' '.join(['ct', *([body['dir']] if 'dir' in body else []), body['key']])
    if kind == 'meta':
        return 'meta mark' if body['key'] == 'mark' else str(body['key'])
    if kind == 'payload':
        return f'{body["protocol"]} {body["field"]}'
    if kind in ('&', '|'):
        return f' {kind} '.join(_expression(item) for item in body)
    if kind == 'prefix':
        return f'{body["addr"]}/{body["len"]}'
    if kind == 'fib':
        return f'fib {" . ".join(body["flags"])} {body["result"]}'
    if kind == 'set':
        return '{ ' + ', '.join(_expression(item) for item in body) + ' }'
    return json.dumps(value, sort_keys=True)
