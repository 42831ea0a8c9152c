# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters return_services and egress_services: from what the Kubernetes API tells to what the roles need."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from ansible.errors import AnsibleFilterError

from ..module_utils import cluster_services
from ..module_utils.errors import PolicyError


def _one_line(function: Callable[..., List[Dict[str, Any]]]) -> Callable[..., List[Dict[str, Any]]]:
    def filtered(*arguments: Any, **options: Any) -> List[Dict[str, Any]]:
        try:
            return function(*arguments, **options)
        except PolicyError as problem:
            raise AnsibleFilterError(str(problem)) from problem
        except (KeyError, TypeError, AttributeError) as problem:
            raise AnsibleFilterError(f'wants Service objects of the Kubernetes API: {problem!r}') from problem

    return filtered


class FilterModule:
    """Jinja filters, called returntraffic.net.<name>."""

    def filters(self) -> Dict[str, Callable[..., List[Dict[str, Any]]]]:
        return {
            'return_services': _one_line(cluster_services.return_services),
            'egress_services': _one_line(cluster_services.egress_services),
        }
