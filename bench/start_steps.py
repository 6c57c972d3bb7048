"""The service's start, step by step, in a process that does nothing else.

    python -m bench.start_steps BUNDLE

The last line is JSON: [[step, seconds, resident bytes after it], ...]. The steps are the service's
own, in its order, without its port.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure.card import ROOT

_IMPORT = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")
_SERVER = "apsam_serve.service.server"


@dataclass(frozen=True, kw_only=True)
class Step:
    """resident_bytes: when it was done."""

    name: str
    seconds: float
    resident_bytes: int


def steps(bundle: Path) -> list[Step]:
    """The steps of one start, in a fresh process. Raises subprocess.CalledProcessError."""
    done = _python("-m", "bench.start_steps", str(bundle))
    found = json.loads(done.stdout.splitlines()[-1])
    return [Step(name=name, seconds=s, resident_bytes=size) for name, s, size in found]


def import_ms() -> dict[str, float]:
    """Milliseconds that importing the service takes, by package, the most first. Python's account
    of them takes time itself: trust the shares."""
    done = _python("-X", "importtime", "-c", f"import {_SERVER}, onnxruntime")
    spent: Counter[str] = Counter()
    for microseconds, module in _IMPORT.findall(done.stderr):
        package = module.partition(".")[0]
        spent["standard library" if package in sys.stdlib_module_names else package] += int(
            microseconds
        )
    return {package: total / 1000 for package, total in spent.most_common()}


def _python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, check=True, capture_output=True, text=True
    )


def _walk(bundle: Path) -> Iterator[str]:
    """Takes the steps; yields the name of each when it is done."""
    yield "interpreter"
    importlib.import_module(_SERVER)
    yield "imports of the service"
    importlib.import_module("onnxruntime")
    yield "import of ONNX Runtime"
    from apsam_serve.contract.manifest import open_bundle
    from apsam_serve.local import LocalSegmenter
    from apsam_serve.runtime.base import RunnerOptions, load

    opened = open_bundle(bundle)
    yield "verifying the bundle"
    runner = load("onnxruntime")(opened, RunnerOptions())
    runner.open()
    yield "loading the graphs"
    import numpy as np

    from apsam_serve.contract.prompts import Prompt

    side = opened.manifest.model.side
    image = LocalSegmenter(runner).encode(np.zeros((side, side, 3), np.uint8))
    image.segment([Prompt.click(side / 2, side / 2)])
    yield "first encode and click"


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _started_s() -> float:
    """When this process was started, seconds since boot."""
    fields = Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def main(argv: Sequence[str] | None = None) -> int:
    """Take the steps and print them; 2 where not one folder is given."""
    words = sys.argv[1:] if argv is None else argv
    if len(words) != 1:
        print(f"start_steps: {len(words)} folders given, expected one bundle", file=sys.stderr)
        return 2
    before_s, found = _started_s(), []
    for name in _walk(Path(words[0])):
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        found.append((name, now_s - before_s, _resident_bytes()))
        before_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
