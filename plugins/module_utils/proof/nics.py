# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the devices that saw a packet is the NIC it came in or left by.

Pure. With devices on top of each other the capture sees a packet several times. The
NIC of the proof is the device that the IP layer knows: the one that has the network.

- Ports of a bridge and members of a bond or team: their master. Which port a reply
  takes is layer 2's affair (flooding, hashing), all of them are one network.
- The device below a VLAN: the VLAN, for what bears a tag; else in by VLAN 10 and out
  by VLAN 20 would look like one NIC.
- A VRF device: the NIC that is enslaved to it; else two NICs of a VRF would look like one.
- An internal port of Open vSwitch: the port that leads out of the host (a NIC, a bond, a VLAN, a veth
  whose other end is elsewhere), where packets enter the switch.
- A veth with both ends in this namespace is a way inside the host, and no NIC.

A macvlan or ipvlan in the same namespace is not told from the NIC it stands on: a
proof over it fails, saying that two NICs saw the packet.
"""

from __future__ import annotations

from typing import List, Sequence, Set

from ..objects import Link
from .frames import Frame

_ONE_NETWORK = ('bridge', 'bond', 'team', 'hsr')


def only_nics(frames: Sequence[Frame], links: Sequence[Link]) -> List[Frame]:
    """The frames without their copies on devices above or below the NIC. Unknown devices count as NICs."""
    hidden, carriers = _hidden(links), {link.lower for link in links if link.kind == 'vlan'}
    return [frame for frame in frames if frame.nic not in hidden and not (frame.vlan and frame.nic in carriers)]


def _hidden(links: Sequence[Link]) -> Set[str]:
    kinds = {link.name: link.kind for link in links}
    ways_out = switch_ports(links)
    return {
        link.name
        for link in links
        if link.kind == 'vrf'
        or kinds.get(link.master or '') in _ONE_NETWORK
        or (link.kind == 'veth' and link.lower is not None)
        or (link.kind == 'openvswitch' and ways_out)
    }


def switch_ports(links: Sequence[Link]) -> Set[str]:
    """The ports of Open vSwitch that lead out of the host: not its own, nor tunnels."""
    switches = {link.name for link in links if link.kind == 'openvswitch'}
    return {link.name for link in links if link.master in switches and _leads_out(link)}


def _leads_out(link: Link) -> bool:
    return link.kind in (None, 'bond', 'team', 'vlan') or (link.kind == 'veth' and link.lower is None)
