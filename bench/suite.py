"""Every benchmark, one after the other: `python -m bench.suite --out bench/results`.

Each runs as a process of its own and leaves THEME_HARDWARE_YYYYMM.json, .md and .html (with
pictures) in the folder; at the end stands the table of what was to be reached. --short is for a
look in under five minutes on two cores, all but clicks on ViT-B (`make bench`), --gpu for a machine
with a GPU (`make bench-gpu`). A benchmark that fails does not stop the others; the exit code is 1
then.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from apsam_serve.contract.cpus import num_cpus
from bench import goals
from bench.measure import page
from bench.measure.card import describe, environment
from bench.measure.document import Document
from bench.measure.options import guarded
from bench.measure.table import markdown


@dataclass(frozen=True, kw_only=True)
class Run:
    """A benchmark of the suite. short: its options for a look, None to leave it out there; full:
    for results that are kept."""

    theme: str
    module: str
    short: str | None
    full: str = ""


CPU = (
    Run(
        theme="latency_tiny",
        module="latency",
        short="--bundle tiny --peers --peer in_process predictor onnx_decoder --rounds 2",
        full="--bundle tiny --peers --rounds 15 --clicks 1000",
    ),
    Run(
        theme="latency_vit_b",
        module="latency",
        short=None,
        full="--bundle vit_b --peers --rounds 8 --clicks 200 --encodes 6",
    ),
    Run(
        theme="latency_open_loop",
        module="latency",
        short="--bundle tiny --rate 20 --seconds 4 --stations 2 --encodes 1",
        full="--bundle tiny --rate 25 --seconds 60 --stations 4 --encodes 1",
    ),
    Run(theme="service_cost", module="service_cost", short="--rounds 12", full="--rounds 60"),
    Run(theme="apg", module="apg", short="--rounds 2 --masks 30"),
    Run(
        theme="encoder",
        module="encoder",
        short="--presets tiny,vit_b --rounds 2",
        full="--presets tiny,vit_b --batches 1,4",
    ),
    Run(
        theme="stations",
        module="stations",
        short="--stations 1,8 --rounds 4 --seconds 1",
        full="--rounds 20 --seconds 1",
    ),
    Run(theme="cold_start", module="cold_start", short="--rounds 3"),
    Run(theme="memory", module="memory", short="--clicks 100 --encodes 10 --held 40"),
    Run(theme="transport", module="transport", short="--rounds 50"),
    Run(theme="store_churn", module="store_churn", short="--seconds 0.1", full="--seconds 0.5"),
)
GPU = (
    Run(theme="on_gpu", module="on_gpu", short=None),
    Run(
        theme="latency_vit_l",
        module="latency",
        short=None,
        full="--bundle vit_l --peers --rounds 20 --clicks 2000 -- --device cuda",
    ),
)


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """1 where a benchmark failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/bench/results"))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--gpu", action="store_true", help="those for a GPU, instead")
    parser.add_argument("--only", nargs="+", default=(), metavar="THEME", help="leave out others")
    options = parser.parse_args(argv)
    runs = [
        run
        for run in (GPU if options.gpu else CPU)
        if (not options.only or run.theme in options.only)
        and not (options.short and run.short is None)
    ]
    if not runs:
        known = ", ".join(run.theme for run in (*CPU, *GPU))
        parser.error(f"--only {' '.join(options.only)} leaves nothing; choose of {known}")
    options.out.mkdir(parents=True, exist_ok=True)
    tag = f"{hardware()}_{datetime.now(UTC):%Y%m}"
    failed, written = [], []
    for number, run in enumerate(runs, start=1):
        print(f"\n[{number} of {len(runs)}] {run.theme}", file=sys.stderr, flush=True)
        path = options.out / f"{run.theme}_{tag}.json"
        words = ((run.short if options.short else run.full) or "").split()
        if perform(run, words, path):
            written.append(path)
        else:
            failed.append(run.theme)
    print(goals.markdown(goals.read(written)))
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def perform(run: Run, words: Sequence[str], path: Path) -> bool:
    """Run a benchmark and write its table and its page, which has pictures, beside its JSON.
    Returns whether it worked."""
    cut = words.index("--") if "--" in words else len(words)
    command = ["-m", f"bench.{run.module}", *words[:cut], "--json", str(path), *words[cut:]]
    print(f"\n$ python {' '.join(command)}", flush=True)
    started = time.monotonic()
    path.unlink(missing_ok=True)  # what an earlier run left must not pass for this one's
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0 or not path.exists():
        print(done.stdout, f"ended with {done.returncode}", file=sys.stderr)
        return False
    document = Document.read(path)
    page.write(document, path.with_suffix(".html"))
    table = markdown(document)
    head = f"# {run.theme}\n\n{describe(dict(document.card))}\n\n```\n{document.command}\n```"
    path.with_suffix(".md").write_text(f"{head}\n\n{table}\n", "utf-8")
    print(f"\n{table}\n\n{time.monotonic() - started:.0f} s", flush=True)
    return True


def hardware() -> str:
    """Short, for names of files: `cpu2`, or the GPU's name and `cpu16`."""
    gpus = [str(gpu["name"]) for gpu in environment().get("gpus", ())]
    names = [gpu.lower().replace("nvidia", "").strip().replace(" ", "-") for gpu in gpus[:1]]
    return "_".join([*names, f"cpu{num_cpus()}"])


if __name__ == "__main__":
    sys.exit(main())
