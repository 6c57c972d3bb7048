"""What exports take, and what the gate finds: `python -m bench.export --presets tiny,vit_b`.

Random weights stand for trained ones (none of the parts that start at zero stays zero), or, with
--checkpoint, a real one. Runs `apsam-export` as a command and reads wall time and peak memory of
that process from the kernel, figures from the bundle's parity.json. Prints the machine, a table,
and, as the last line, JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from apsam_serve.contract.manifest import Gate, open_bundle
from bench.measure.rounds import told
from bench.models import random_checkpoint


@dataclass(frozen=True, kw_only=True)
class Result:
    """Of one export. seconds: wall time; peak_gib: resident memory of the process; megabytes: of
    the bundle; builds: the gate's line for each."""

    name: str
    command: list[str]
    seconds: float
    peak_gib: float
    megabytes: float
    builds: dict[str, str]


def main() -> int:
    """Export every model; 0 when all passed their gates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", default="", help="random weights of these, comma separated")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[])
    parser.add_argument("options", nargs="*", help="after --: options of apsam-export")
    args = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, torch {torch.__version__}")
    results = []
    with tempfile.TemporaryDirectory(prefix="apsam-export-") as folder:
        for name in told([*filter(None, args.presets.split(","))], "presets"):
            checkpoint = Path(folder) / f"{name}.safetensors"
            random_checkpoint(name, checkpoint)
            results.append(export(f"{name}, random weights", checkpoint, args.options))
            checkpoint.unlink()
        for checkpoint in told(args.checkpoint, "checkpoints"):
            results.append(export(str(checkpoint), checkpoint, args.options))
    print(table(results))
    print(json.dumps([asdict(result) for result in results]))
    return 0


def export(name: str, checkpoint: Path, options: list[str]) -> Result:
    """Run the command and look at what it took. A failure ends the benchmark."""
    with tempfile.TemporaryDirectory(prefix="apsam-export-") as folder:
        out = Path(folder) / "bundle"
        words = ["--checkpoint", str(checkpoint), "--out", str(out), *options]
        program = str(Path(sys.executable).with_name("apsam-export"))
        started = time.monotonic()
        process = os.posix_spawn(program, [program, *words], os.environ)
        _, status, usage = os.wait4(process, 0)
        seconds = time.monotonic() - started
        if status != 0:
            sys.exit(f"apsam-export {' '.join(words)} failed")
        manifest = open_bundle(out).manifest
        return Result(
            name=name,
            command=["apsam-export", *words],
            seconds=seconds,
            peak_gib=usage.ru_maxrss / 2**20,
            megabytes=sum(entry.num_bytes for entry in manifest.files.values()) / 1e6,
            builds={key: verdict(build.gate) for key, build in manifest.builds.items()},
        )


def verdict(gate: Gate) -> str:
    """A gate in a line."""
    return f"{'passed' if gate.passed else 'unverified'}: {gate.detail}"


def table(results: list[Result]) -> str:
    """For people, in Markdown."""
    lines = ["| model | wall | peak memory | bundle | build | gate |", "|---|---|---|---|---|---|"]
    for result in results:
        for build_name, line in result.builds.items():
            lines.append(
                f"| {result.name} | {result.seconds:.0f} s | {result.peak_gib:.1f} GiB | "
                f"{result.megabytes:.0f} MB | {build_name} | {line} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
