"""Commands run as a person would type them, shown first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run_shown(program: str, *arguments: object) -> None:
    """Print a command and run it; a failure ends this program with its exit code.

    program: a console script of this environment, or "python".
    """
    words = [str(argument) for argument in arguments]
    print(f"\n$ {' '.join([program, *words])}", file=sys.stderr, flush=True)
    done = subprocess.run([str(Path(sys.executable).with_name(program)), *words])
    if done.returncode != 0:
        sys.exit(done.returncode)
