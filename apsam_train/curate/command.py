"""`apsam-train curate`: several data sets to one clean one, in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from apsam_serve.contract.cpus import num_cpus
from apsam_train.curate.filters import Stage, stage_files
from apsam_train.curate.images import LINKS
from apsam_train.curate.merge import Merge
from apsam_train.curate.pipeline import run_stages
from apsam_train.curate.report import write_report
from apsam_train.curate.report_text import as_document, as_summary, as_table
from apsam_train.curate.sources import Source, open_sources
from apsam_train.curate.taxonomy import read_category_map
from apsam_train.curate.workspace import open_workspace, refuse_nested
from apsam_train.data.options import tell
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import ConfigError
from apsam_train.results import add_json, give


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; those of the stages stand in their files."""
    parser.add_argument(
        "sources", nargs="+", metavar="SRC", help="data set folder or COCO file, PATH or name=PATH"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="result folder")
    parser.add_argument("--workers", type=int, default=None, help="processes; default: one per CPU")
    parser.add_argument("--seed", type=int, default=0, help="of everything left to chance")
    parser.add_argument(
        "--format",
        action="append",
        default=[],
        metavar="SOURCE=NAME",
        help="layout of a source that is not recognised",
    )
    parser.add_argument(
        "--resplit",
        action="append",
        default=[],
        metavar="SOURCE",
        help="divide this source anew, whatever its own splits",
    )
    for stage in stage_files().values():
        stage.add_options(parser)
    parser.add_argument(
        "--category-map", type=Path, metavar="FILE", help="TOML: names of sources -> Table 7"
    )
    parser.add_argument(
        "--unmapped", choices=("keep", "drop"), default="keep", help="objects outside Table 7"
    )
    parser.add_argument(
        "--link", choices=LINKS, default="hard", help="how images come into DIR (default hard)"
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first problem")
    parser.add_argument(
        "--again", action="store_true", help="move a result of other options to DIR/previous"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """0 when DIR is complete. Raises ConfigError and DatasetError."""
    workers = num_cpus() if args.workers is None else args.workers
    if workers < 1:
        raise ConfigError(f"--workers is {workers}: expected at least 1")
    stages = {name: file.from_args(args) for name, file in stage_files().items()}
    log = ProblemLog(strict=args.strict)
    sources = open_sources(args.sources, formats=args.format, resplit=args.resplit, log=log)
    merge = Merge(
        link=args.link,
        drop_unmapped=args.unmapped == "drop",
        category_map=read_category_map(args.category_map, [source.name for source in sources]),
        in_xseg={source.name: source.dataset.categories_in_xseg for source in sources},
    )
    for source in sources:
        refuse_nested(args.out, source.dataset)
    open_workspace(args.out, _settings(sources, stages, merge), again=args.again)
    files = run_stages(sources, stages, merge, out=args.out, workers=workers, log=log)
    tell(log, "curate")
    report = write_report(args.out, files, log)
    lines = (as_table(report), as_summary(report, args.out))
    give(as_document(report, args.out), *lines, as_json=args.json)
    return 0


def _settings(sources: list[Source], stages: dict[str, Stage], merge: Merge) -> dict[str, object]:
    options = merge.options()
    for stage in stages.values():
        options |= stage.options()
    return {"sources": [source.to_json() for source in sources], "options": options}
