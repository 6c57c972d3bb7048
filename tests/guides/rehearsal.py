"""Runs the commands of a document, one after the other, in a folder of their own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.guides.parsers import main_of, program_of
from tests.guides.reading import ROOT, commands
from tests.guides.stage import after
from tests.guides.table import RUN

_READY = {
    "apsam_serve.cli": r"serving \w+ on ",
    "apsam_serve.console.cli": r"console on http",
    "integrations.label_studio": r"Running on http",
}
"""Programs that run until they are told to stop, and what they say before."""
_PATIENCE_S = 300.0


def rehearse(document: str, folder: Path, *, server: str) -> list[str]:
    """The commands that were run, with changes. The working directory must be `folder`; `server`
    answers those that ask one. Raises AssertionError at the first that fails."""
    ran = []
    for shown in commands(document):
        if shown not in RUN:
            continue
        command = changed(shown)
        _run(command, folder, server)
        after(shown, folder, document)
        ran.append(command)
    return ran


def changed(shown: str) -> str:
    """A command with the words of its table."""
    command = shown
    for old, new in RUN[shown].items():
        assert old in command, f"the table changes {old!r}, which {shown!r} does not have"
        command = command.replace(old, new)
    return command


def _run(command: str, folder: Path, server: str) -> None:
    command = command.replace("127.0.0.1:50051", server)
    program = program_of(command)
    if program is None:
        done = subprocess.run(["bash", "-e", "-c", command], cwd=folder, timeout=_PATIENCE_S)
        assert done.returncode == 0, command
    elif program[0] in _READY:
        ready = r"console on http" if "--console" in command else _READY[program[0]]
        _start_and_stop(*program, folder=folder, ready=ready)
    else:
        assert main_of(program[0])(program[1]) == 0, command


def _start_and_stop(module: str, words: list[str], *, folder: Path, ready: str) -> None:
    """Waits until the program says that it is ready, and stops it as `kill` does."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", module, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    impatience = threading.Timer(_PATIENCE_S, process.kill)
    impatience.start()
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if re.search(ready, line):
                process.send_signal(signal.SIGTERM)
        assert process.wait() == 0, f"{shlex.join([module, *words])}\n{''.join(said)}"
    finally:
        impatience.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    assert re.search(ready, "".join(said)), "".join(said)
