# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of qemu, as measured with Python's start and Ansible's imports as the load."""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple

PROGRAM = 'qemu-system-x86_64'

# Emulated, five-level page tables and "rep movsb" (which the kernel prefers where ERMS is announced) cost time.
CPU = 'max,la57=off,erms=off'

# Warnings of the kernel are wanted on the console (loglevel 5). The watchdogs are off and the time stamp counter is
# trusted because a machine that shares its processor with others halts at will. Expedited grace periods make closing a
# packet socket 50 times faster (35 ms without). panic=-1 with -no-reboot ends qemu. Time is read from the HPET: on a
# busy machine the kernel may take the time stamp counter for a slower one (2.4 GHz for 0.2 GHz was seen), and then the
# guest's clock runs several times too fast and every timeout ends too soon. There, too, the timer's interrupt comes too
# late for the kernel's check of it, which would be a panic.
KERNEL_ARGUMENTS = (
    'console=ttyS0 loglevel=5 panic=-1 mitigations=off audit=0 apparmor=0 nowatchdog tsc=reliable'
    ' clocksource=hpet no_timer_check rcupdate.rcu_expedited=1 rcupdate.rcu_cpu_stall_suppress=1'
)


class Machine(NamedTuple):
    """One virtual machine: kernel image, initramfs, the writable share, the console's file, its size."""

    image: Path
    initramfs: Path
    share: Path
    console: Path
    memory: int = 2048  # MiB
    processors: int = 1


def command(machine: Machine) -> List[str]:
    """Argument vector. Multithreaded software emulation; no network card, no display, the console to a file."""
    return [
        PROGRAM, '-accel', 'tcg,thread=multi', '-cpu', CPU,
        '-smp', str(machine.processors), '-m', str(machine.memory),
        '-nodefaults', '-display', 'none', '-monitor', 'none', '-no-reboot',
        '-serial', f'file:{escaped(machine.console)}',
        '-kernel', str(machine.image), '-initrd', str(machine.initramfs), '-append', KERNEL_ARGUMENTS,
        '-virtfs', f'{shared(Path("/"), "host")},readonly=on',
        '-virtfs', shared(machine.share, 'share'),
    ]  # fmt: skip


def shared(folder: Path, tag: str) -> str:
    """Option of a 9p share; the guest's root acts with the rights of whoever runs qemu."""
    return f'local,path={escaped(folder)},mount_tag={tag},security_model=none,multidevs=remap'


def escaped(path: Path) -> str:
    """A comma in the value of an option is written twice."""
    return str(path).replace(',', ',,')
