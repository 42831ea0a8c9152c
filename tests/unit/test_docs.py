# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents say what is so: links, paths, targets, variables, numbers, errors, the walk of architecture.md."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List

import house
import pytest
import yaml
from ansible_collections.returntraffic.net.plugins.module_utils import intent, objects, route_spec, rule_spec
from ansible_collections.returntraffic.net.plugins.module_utils.bind import bind
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.routes import add_message
from ansible_collections.returntraffic.net.plugins.module_utils.list_spec import Context
from ansible_collections.returntraffic.net.plugins.module_utils.plan import make_plan
from ansible_collections.returntraffic.net.plugins.module_utils.preflight import preflight, refusals
from ansible_collections.returntraffic.net.plugins.module_utils.report import changes_of
from ansible_collections.returntraffic.net.plugins.module_utils.strategies.registry import COMPILERS, compile_policy
from samples import make_host, make_intent

ROOT = house.ROOT
DOCUMENTS = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md'), *(ROOT / 'roles').glob('*/README.md')])
PATH = re.compile(
    r'`((?:plugins|roles|playbooks|inventory|tests|bench|docs|molecule|meta|changelogs|scripts)/[\w./*-]*[\w/])`'
)
LINK = re.compile(r'\]\(([^)#\s]*)(#[^)\s]+)?\)')
#: A row of four cells whose second is a strategy.
CHOOSER = re.compile(r'^\|[^|]*\| `(\w+)`[^|]*\|[^|]*\|[^|]*\|$', re.MULTILINE)
#: In the order of the tables: by what they need.
STRATEGIES = ['connmark', 'source', 'mark', 'static', 'vrf', 'egress_service']
BLOCK = re.compile(r'```(\w+)\n(.*?)```', re.DOTALL)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text(document: str) -> str:
    return (ROOT / document).read_text()


def flat(document: str) -> str:
    """A document without its line breaks."""
    return ' '.join(text(document).split())


def anchors(path: Path) -> List[str]:
    """The headings of a document as the part of a link behind #."""
    headings = re.findall(r'^#+ (.*)$', path.read_text(), re.MULTILINE)
    return ['#' + re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings]


@pytest.mark.parametrize('document', DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text()):
        if target.startswith('http'):
            continue
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target + anchor


@pytest.mark.parametrize('document', DOCUMENTS, ids=name)
def test_files_that_are_named_are_there(document: Path) -> None:
    missing = [path for path in PATH.findall(document.read_text()) if not list(ROOT.glob(path.rstrip('/')))]
    assert missing == []


@pytest.mark.parametrize('document', DOCUMENTS, ids=name)
def test_make_has_the_targets(document: Path) -> None:
    targets = set(re.findall(r'^([a-z-]+):', text('Makefile'), re.MULTILINE))
    named = re.findall(r'(?:^|`)make ((?:[a-z-]+ ?)+)', document.read_text(), re.MULTILINE)
    assert {word for words in named for word in words.split()} - targets == set()


@pytest.mark.parametrize('document', DOCUMENTS, ids=name)
def test_yaml_can_be_read_and_names_variables_that_there_are(document: Path) -> None:
    known = {option for role in house.roles() for option in house.options_of(role)}
    for kind, block in BLOCK.findall(document.read_text()):
        if kind == 'yaml':
            named = {key for key in keys(yaml.safe_load(block)) if re.match(rf'({"|".join(house.roles())})_', key)}
            assert named - known == set()


def keys(data: Any) -> Iterator[str]:
    """Every key of a nested structure."""
    if isinstance(data, dict):
        yield from data
    for item in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from keys(item)


@pytest.mark.parametrize('document', DOCUMENTS, ids=name)
def test_protocols_are_those_of_the_code(document: Path) -> None:
    lab = house.defaults_of('router')['router_protocol']
    named = re.findall(r'\bproto(?:col)?[ =](\d+)', document.read_text())
    assert set(map(int, named)) <= {objects.PROTOCOL, objects.LIST_PROTOCOL, lab}


@pytest.mark.parametrize('document', ['README.md', 'docs/strategies.md'])
def test_every_strategy_is_in_the_table(document: str) -> None:
    assert set(COMPILERS) == set(intent.STRATEGIES) == {*STRATEGIES}
    assert CHOOSER.findall(text(document)) == STRATEGIES


def test_every_plugin_is_in_the_readme() -> None:
    plugins = sorted({*house.modules(), *house.roles(), 'netns'})
    assert [word for word in plugins if f'`{word}`' not in text('README.md')] == []


def documented(module: str, option: str) -> Dict[str, Any]:
    """The suboptions of an option as its module documents them."""
    path = f'ansible_collections.returntraffic.net.plugins.modules.{module}'
    options = yaml.safe_load(importlib.import_module(path).DOCUMENTATION)['options']
    return dict(options[option]['suboptions'])


@pytest.mark.parametrize(
    ('module', 'option', 'known'),
    [
        ('return_policy', 'networks', intent.NETWORK_KEYS),
        ('return_policy', 'services', intent.SERVICE_KEYS),
        ('ip_rule', 'rules', rule_spec.rule_parsers(Context({}))),
        ('ip_route', 'routes', route_spec.route_parsers(Context({}))),
    ],
)
def test_every_key_of_a_list_is_documented(module: str, option: str, known: Dict[str, Any]) -> None:
    """Ansible does not know these keys, our parsers do; so nothing else compares them with the documentation."""
    assert set(documented(module, option)) == set(known)


def test_the_walk_is_what_the_code_does() -> None:
    """Steps 1 to 5 of architecture.md, from the inventory's line to the bytes for the kernel."""
    walk = flat('docs/architecture.md')
    host = make_host()
    policy = intent.parse_policy(make_intent())
    bound = bind(policy, host)
    plan = make_plan(compile_policy(bound, host), host)
    route = next(item for item in plan.add_routes if item.destination == '0.0.0.0/0' and item.type == 'unicast')
    reason = compile_policy(bound, host).routes[route]
    message = add_message(route, {'eth1': 3}).body.hex()
    for shown in (
        f'Network.gateways = {policy.networks[0].gateways}',
        f"Attachment(nic='eth1', table={bound.attachments[0].table}, mark={bound.attachments[0].mark:#x},",
        f"Route('ipv4', {route.table}, '0.0.0.0/0', next_hops=(NextHop('10.111.221.21', 'eth1'),), protocol=201)",
        reason,
        next(line for line in changes_of(plan) if 'default via 10.111.221.21' in line),
        ' '.join(message[at : at + 8] for at in range(0, len(message), 8)),
    ):
        assert shown in walk


def refused(policy: Dict[str, Any], **host: Any) -> str:
    """What a policy is refused with on a host."""
    seen = make_host(**host)
    try:
        bound = bind(intent.parse_policy(policy), seen)
        first = refusals(preflight(bound, compile_policy(bound, seen), seen))[0]
    except Exception as error:
        return str(error)
    return f'{first.check}: {first.subject!r}: {first.reason}; {first.cure}'


def with_network(**changes: Any) -> Dict[str, Any]:
    """The sample's intent with another first network."""
    policy = make_intent()
    policy['networks'][0].update(changes)
    return {key: value for key, value in policy.items() if key != 'services'}


ROUTE = objects.Route('ipv4', 3001, '10.9.0.0/16', protocol=4)
RULE = objects.Rule('ipv4', 3000, table=254, protocol=4)
UNKNOWN = [{'network': 'network1', 'vips': ['192.168.7.7']}]
ERRORS = {
    "networks[0].interface: 'eth9': no interface has it; there are": refused(with_network(interface='eth9')),
    'is not on a network of eth1': refused(with_network(gateways=['10.9.9.9'])),
    'unknown key; known are': refused(with_network(gateway='10.111.221.21')),
    "priority: 'ipv4 3000': is taken by a rule of others": refused(with_network(), rules=(RULE,)),
    "table: '3001': holds routes of others": refused(with_network(), routes=(*make_host().routes, ROUTE)),
    'default_route: ': refused(with_network(), routes=()),
    'nft: ': refused(with_network(), nft_missing='nft is not installed'),
    'forwarding: ': refused(make_intent('source'), sysctls={'net/ipv4/ip_forward': '0'}),
    'is neither an address of this host nor in any nft rule': refused(make_intent('source', services=UNKNOWN)),
    "strategy: 'vrf': this kernel is built without VRF": refused(
        {**with_network(), 'strategy': 'vrf'}, vrf_supported=False
    ),
}


@pytest.mark.parametrize('said', ERRORS)
def test_the_errors_in_troubleshooting_are_those_of_the_code(said: str) -> None:
    assert said in ERRORS[said]
    assert said in flat('docs/troubleshooting.md')
