"""How long a click takes, and what the time goes into: `python bench/latency.py --bundle BUNDLE`.

Starts apsam-serve on the bundle (or calls --server), has it hold images and clicks on them with
APG; then encodes. A closed loop of one caller unless told otherwise; with --rate calls come at
random (Poisson) whether or not earlier ones are answered, and latency counts from the intended
time. --peers, with --checkpoint, puts what people use today beside it, in turns. Options of
apsam-serve follow after --. Prints the machine, tables and, as the last line, JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: Python looks for modules in bench/, and must look beside it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from apsam_serve.contract.cpus import num_cpus
from apsam_serve.contract.manifest import Bundle, open_bundle
from bench.load_accuracy import Reference, reference
from bench.load_grpc import Load, Loop, load
from bench.load_rows import NETWORK_NOTE, row_of
from bench.measure import compare, page, slo
from bench.measure.document import Document, Figure, Row, publish
from bench.measure.options import guarded
from bench.measure.serving import ServedBundle
from bench.measure.workload import Workload, of_folder, synthetic
from bench.peers import ON_CPU, ON_GPU, open_peers

_CLICKS = 200
"""Where neither --seconds nor --clicks is given."""
_NAME = "APSAM through gRPC"
_START_S = 600.0
"""The first start on a GPU compiles for it."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where to call. cpu_s, rss_bytes: of its process, None where it is not ours."""

    address: str
    cpu_s: Callable[[], float] | None = None
    rss_bytes: Callable[[], int] | None = None


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 where an --slo is violated or what is measured fails; 2 for a wrong command line."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        if options.compare:
            before, after = (Document.read(path) for path in options.compare)
            print(compare.compare(before, after))
            return 0
        slos = [slo.parse(text) for text in options.slo]
        _check(options)
        workload = of_folder(options.images) if options.images else synthetic()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    weights = _find_model(options)
    document = measure(options, workload, weights=weights)
    violations = slo.check(slos, document)
    for violation in violations:
        print(f"violated: {violation}", file=sys.stderr)
    publish(document, json_path=options.json)
    if options.html is not None:
        page.write(document, options.html)
    return 1 if violations else 0


def measure(options: argparse.Namespace, workload: Workload, *, weights: str) -> Document:
    """Everything the options ask for. Raises ApsamError, or RuntimeError where a server fails."""
    bundle = open_bundle(options.bundle)
    loop = Loop(
        stations=options.stations,
        concurrency=options.concurrency,
        rate=options.rate,
        seconds=options.seconds,
        num_calls=_CLICKS if options.clicks is None and options.seconds is None else options.clicks,
        seed=options.seed,
    )
    with _server(options) as server:
        found = asyncio.run(
            load(
                server.address,
                workload,
                loop,
                warm_up=options.warm_up,
                num_encodes=options.encodes or 3 * len(workload.files),
                digest=bundle.digest,
                cpu_s=server.cpu_s,
            )
        )
        rss_bytes = server.rss_bytes() if server.rss_bytes is not None else None
        truth = reference(workload, bundle=options.bundle, checkpoint=options.checkpoint)
        rows = _rows(found, loop, truth, preset=bundle.manifest.model.preset, rss_bytes=rss_bytes)
        figures: list[Figure] = []
        if options.peers:
            more, figures = _peers(options, server.address, workload, truth, bundle)
            rows += more
    settings = {key: value for key, value in vars(options).items() if key not in ("json", "html")}
    return Document(
        benchmark="latency",
        settings={
            **settings,
            "preset": bundle.manifest.model.preset,
            "digest": bundle.digest,
            "weights": weights,
            "server_threads": "not known" if options.server else options.threads,
            "num_images": len(workload.images),
            "num_distinct_clicks": len(workload.clicks),
        },
        rows=rows,
        figures=figures,
    )


@contextlib.contextmanager
def _server(options: argparse.Namespace) -> Iterator[Server]:
    """The one that was given, or one of our own."""
    if options.server:
        yield Server(address=options.server)
        return
    threads = ("--threads", str(options.threads))
    words = (*threads, *options.options)
    with ServedBundle(options.bundle, *words, start_timeout_s=_START_S) as served:
        yield Server(address=served.address, cpu_s=served.cpu_s, rss_bytes=served.rss_bytes)


def _rows(
    found: Load, loop: Loop, truth: Reference, *, preset: str, rss_bytes: int | None
) -> list[Row]:
    figures = {}
    if found.server_cpu_s is not None and found.clicks:
        figures["server_cpu_ms_per_call"] = 1000 * found.server_cpu_s / len(found.clicks)
    if rss_bytes is not None:
        figures["server_rss_mb"] = rss_bytes / 1e6
    rows = [
        row_of(
            found.clicks,
            name=_NAME,
            group=f"click, {preset}",
            mask_iou=truth.compare(found.answers),
            figures=figures,
            offered_per_s=loop.rate,
            note=f"{truth.note}; {NETWORK_NOTE}",
        ),
        row_of(found.encodes, name=f"{_NAME}, PNG files", group=f"encode, {preset}"),
        row_of(found.warm_up, name=f"{_NAME}, warm-up", group="warm-up"),
    ]
    return [row for row in rows if len(row.samples) or row.errors]


def _peers(
    options: argparse.Namespace, address: str, workload: Workload, truth: Reference, bundle: Bundle
) -> tuple[list[Row], list[Figure]]:
    from bench import load_peers  # torch and segment_anything, where they are asked for

    names = (load_peers.OURS, *(options.peer or _beside(options)))
    preset = bundle.manifest.model.preset
    with open_peers(
        names,
        checkpoint=options.checkpoint,
        bundle=options.bundle,
        address=address,
        threads=options.threads,
    ) as peers:
        took = load_peers.in_turns(peers, workload, rounds=options.rounds)
        rows = load_peers.rows_of(took, truth, preset=preset)
        rows += load_peers.left_out(peers.left_out, preset=preset)
        return rows, load_peers.figures_of(took, preset=preset, rounds=options.rounds)


def _find_model(options: argparse.Namespace) -> str:
    """Put files in the place of a preset's name, and on a GPU its half-precision build; what the
    weights are. Raises ApsamError, or CalledProcessError where the export fails."""
    if options.bundle.exists():
        return "those of the bundle that was given"
    from bench.models import FP16, bundle_of, for_this_gpu  # torch, where it is asked for

    on_gpu = _on_gpu(options)
    files = bundle_of(str(options.bundle), options=for_this_gpu() if on_gpu else ())
    if on_gpu and not {"--build", "--backend"} & set(options.options):
        options.options += ["--build", FP16]
    options.bundle = files.bundle
    options.checkpoint = options.checkpoint or files.checkpoint
    print(f"{files.bundle}: {files.note}", file=sys.stderr)
    return files.note


def _on_gpu(options: argparse.Namespace) -> bool:
    """Whether the server that is started computes on one."""
    return any(word in ("cuda", "--device=cuda") for word in options.options)


def _beside(options: argparse.Namespace) -> tuple[str, ...]:
    """The peers that compute where the server does; others would compare devices."""
    return ON_GPU if _on_gpu(options) else ("in_process", *ON_CPU)


def _check(options: argparse.Namespace) -> None:
    """Raises ValueError for options that do not go together."""
    if options.bundle is None:
        raise ValueError("no --bundle; give a folder of apsam-export, a preset, or --compare")
    if options.peers and options.checkpoint is None and options.bundle.exists():
        raise ValueError("--peers without --checkpoint; give the one the bundle was exported from")
    if options.peer and not options.peers:
        raise ValueError(f"--peer {' '.join(options.peer)} without --peers; give both")
    if options.server and options.options:
        raise ValueError(
            f"{' '.join(options.options)} beside --server: nothing is started that could take them;"
            " give one of the two"
        )
    choice = (*ON_CPU, *ON_GPU, "in_process") if options.server else _beside(options)
    for name in options.peer or ():
        if name not in choice:
            raise ValueError(
                f"--peer {name!r}: choose of {', '.join(choice)}, which compute where the server "
                "does"
            )
    if options.rate is not None and options.concurrency != 1:
        raise ValueError(
            f"--rate {options.rate} and --concurrency {options.concurrency}: calls that come at "
            "a rate do not wait for each other; give one of the two"
        )
    numbers = ("rate", "concurrency", "stations", "seconds", "clicks", "encodes", "rounds")
    for name in (*numbers, "threads"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise ValueError(f"--{name} is {value}; give a number above 0")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--bundle", type=Path, help="folder of apsam-export, or a preset: tiny")
    add("--checkpoint", type=Path, help="what it was exported from: the reference, and for --peers")
    add("--server", metavar="HOST:PORT", help="a server of the bundle; else one is started")
    add("--rate", type=float, help="open loop: clicks a second over all stations")
    add("--concurrency", type=int, default=1, help="closed loop: calls in flight per station")
    add("--stations", type=int, default=1, help="clients with connections of their own")
    add("--seconds", type=float, help="how long to click")
    add("--clicks", type=int, help=f"how often to click ({_CLICKS})")
    add("--encodes", type=int, help="images to encode (3 times each)")
    add("--warm-up", type=int, default=20, help="clicks before, not counted (%(default)s)")
    add("--seed", type=int, default=0, help="of the arrivals (%(default)s)")
    add("--images", type=Path, metavar="FOLDER", help="images to click on; else synthetic bags")
    add("--threads", type=int, default=num_cpus(), help="CPU threads per library (%(default)s)")
    add("--peers", action="store_true", help="what people use today, in turns with ours")
    add("--peer", nargs="+", help="which of bench.peers (those of the server's device)")
    add("--rounds", type=int, default=5, help="of every click by every peer (%(default)s)")
    add("--slo", nargs="+", action="extend", default=[], help="like p99=50ms: exit code 1 if not")
    add("--json", type=Path, help="write the document to this file too")
    add("--html", type=Path, help="write a report with plots")
    add("--compare", type=Path, nargs=2, metavar=("A", "B"), help="two documents, and no run")
    add("options", nargs="*", help="after --: options of apsam-serve")
    return parser


if __name__ == "__main__":
    sys.exit(main())
