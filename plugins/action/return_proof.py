# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin return_proof: judges on the controller, where all clients' answers come together."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional, Sequence

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.proof.capture import Captured, from_json, merge
from ..module_utils.proof.nics import only_nics
from ..module_utils.proof.spec import Answer
from ..module_utils.proof.table import flow_name, render, summary
from ..module_utils.proof.verdict import FAIL, INCOMPLETE, PASS, Verdict, as_dict, judge

ARGUMENTS = {
    'answers': {'type': 'list', 'elements': 'dict', 'required': True},
    'captured': {'type': 'dict'},
    'captures': {'type': 'dict'},
    'clients': {'type': 'list', 'elements': 'str', 'default': []},
    'label': {'type': 'str', 'default': ''},
    'expect': {'type': 'str', 'choices': ['pass', 'fail', 'any'], 'default': 'pass'},
    'path': {'type': 'path'},
    'display': {'type': 'bool', 'default': True},
}


class ActionModule(ActionBase):
    """See modules/return_proof.py for the documentation."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        result = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(
            argument_spec=ARGUMENTS,
            mutually_exclusive=[['captured', 'captures']],
            required_one_of=[['captured', 'captures']],
        )
        if self._task.check_mode and not options['answers']:
            return dict(result, changed=False, skipped=True, msg='nothing is fired in check mode, so nothing is judged')
        return {**result, **_prove(options, write=not self._task.check_mode)}


def _prove(options: Dict[str, Any], write: bool) -> Dict[str, Any]:
    verdicts = _verdicts(options)
    report = _report(options, verdicts)
    table = render(verdicts, options['label'], control=options['expect'] == 'fail')
    if options['display']:
        Display().display(table)
    if options['path'] and write:
        _write(options['path'], report)
    problem = _problem(options['expect'], verdicts)
    expected = problem is None
    outcome = {'changed': False, 'failed': not expected, 'as_expected': expected, 'msg': problem or summary(verdicts)}
    return {**report, 'table': table, **outcome}


def _verdicts(options: Dict[str, Any]) -> List[Verdict]:
    try:
        answers = [Answer(**answer) for answer in options['answers']]
        captured = _captured(options)
    except (TypeError, KeyError, ValueError) as problem:
        wanted = 'what return_flows and return_capture with state=stopped returned is wanted'
        raise AnsibleActionFail(f'answers, captured: {wanted}: {problem}') from problem
    silent = sorted(set(options['clients']) - {answer.client for answer in answers})
    if silent or not answers:
        raise AnsibleActionFail(f'answers: no flow was fired by {", ".join(silent) or "any client"}: nothing to judge')
    return judge(answers, only_nics(captured.frames, captured.links), captured.dropped)


def _captured(options: Dict[str, Any]) -> Captured:
    if options['captures'] is None:
        return from_json(options['captured'])
    return merge({host: from_json(one) for host, one in options['captures'].items()})


def _report(options: Dict[str, Any], verdicts: Sequence[Verdict]) -> Dict[str, Any]:
    words = [verdict.verdict for verdict in verdicts]
    return {
        'label': options['label'],
        'time': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'expect': options['expect'],
        'passed': words.count(PASS),
        'flows_failed': words.count(FAIL),
        'incomplete': words.count(INCOMPLETE),
        'verdicts': [as_dict(verdict) for verdict in verdicts],
    }


def _problem(expect: str, verdicts: Sequence[Verdict]) -> Optional[str]:
    """One line that says why the task fails, with the first flow that is not as expected."""
    wanted = {'pass': (PASS,), 'fail': (FAIL,), 'any': (PASS, FAIL, INCOMPLETE)}[expect]
    others = [verdict for verdict in verdicts if verdict.verdict not in wanted]
    if not others:
        return None
    first = others[0]
    flow = f'{first.client} to {first.vip} {flow_name(first)}'
    wrong = f'{len(others)} of {len(verdicts)} flows are not {" or ".join(wanted)} as expected'
    return f'{wrong}: {flow}: {first.verdict}, {first.reason}'


def _write(path: str, report: Dict[str, Any]) -> None:
    """All at once: whoever reads the path sees the old report or the new one."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=folder, prefix='.proof-')
        try:
            with os.fdopen(descriptor, 'w', encoding='utf-8') as stream:
                json.dump(report, stream, indent=2)
                stream.write('\n')
            os.chmod(unfinished, 0o644)
            os.replace(unfinished, path)
        except BaseException:
            os.unlink(unfinished)
            raise
    except OSError as problem:
        raise AnsibleActionFail(f'path: {path!r}: {problem.strerror}') from problem
