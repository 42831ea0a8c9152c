# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of the programs that make images. Each failure is one line with the tool's last words."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import IO, Mapping, Optional, Sequence

from .errors import ImagesError

#: What is needed besides Python, and the Debian package that has it.
PROGRAMS = {'docker': 'docker.io', 'go': 'golang, 1.24 or newer', 'mmdebstrap': 'mmdebstrap'}


def require(*programs: str) -> None:
    """ImagesError that names every program which is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        names = ', '.join(f'{program} ({PROGRAMS.get(program, program)})' for program in missing)
        raise ImagesError(f'missing on this machine: {names}')


def run(
    *command: str,
    folder: Optional[Path] = None,
    environment: Optional[Mapping[str, str]] = None,
    stdin: Optional[IO[bytes]] = None,
    log: Optional[Path] = None,
) -> str:
    """The standard output. With `log`, both outputs go there instead, and nothing is returned."""
    surroundings = {**os.environ, **(environment or {})}
    with log.open('ab') if log else _nowhere() as target:
        done = subprocess.run(
            command, cwd=folder, env=surroundings, stdin=stdin or subprocess.DEVNULL, check=False,
            stdout=target if log else subprocess.PIPE, stderr=subprocess.STDOUT if log else subprocess.PIPE,
        )  # fmt: skip
    if done.returncode:
        raise ImagesError(f'{" ".join(command[:3])} failed: {_last_words(done.stderr, log)}')
    return (done.stdout or b'').decode(errors='replace')


def succeeds(*command: str) -> bool:
    """Whether the command ends with 0; its output is nobody's."""
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0


def pipe(producer: Sequence[str], consumer: Sequence[str], log: Path) -> None:
    """`producer | consumer`, both of which have to succeed."""
    with subprocess.Popen(producer, stdout=subprocess.PIPE) as source:
        run(*consumer, stdin=source.stdout, log=log)
    if source.returncode:
        raise ImagesError(f'{" ".join(producer[:3])} failed: exit code {source.returncode}')


def _nowhere() -> IO[bytes]:
    return open(os.devnull, 'wb')  # noqa: SIM115 - the caller's `with` closes it


def _last_words(stderr: Optional[bytes], log: Optional[Path]) -> str:
    text = log.read_text(errors='replace') if log else (stderr or b'').decode(errors='replace')
    lines = [line for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else 'no output') + (f', see {log}' if log else '')
