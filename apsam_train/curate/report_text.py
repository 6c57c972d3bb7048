"""The report as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from apsam_train.curate.filters.split import SUBSETS
from apsam_train.curate.taxonomy import UNMAPPED_ID
from apsam_train.tables import Table

_MOST_ROWS = 30


def as_summary(report: dict[str, Any], out: Path) -> str:
    """One line for the terminal."""
    first, last = report["stages"][0], report["stages"][-1]
    totals = report["splits"]["totals"]
    parts = ", ".join(f"{subset} {totals[subset]['images']}" for subset in SUBSETS)
    return f"{first['in']} images in, {last['out']} out ({parts}); report: {out / 'report.md'}"


def as_table(report: dict[str, Any]) -> Table:
    """A line per stage, for the terminal."""
    rows = [
        (
            *(stage["stage"], stage["in"], stage["in"] - stage["out"], stage["out"]),
            ", ".join(f"{count} {reason}" for reason, count in stage["dropped"].items()),
        )
        for stage in report["stages"]
    ]
    return Table(columns=("stage", "in", "dropped", "out", "reasons"), rows=rows)


def as_document(report: dict[str, Any], out: Path) -> dict[str, Any]:
    """What --json prints: all but the lists of pairs, which may be as long as the data sets."""
    duplicates = {k: v for k, v in report["duplicates"].items() if k not in ("pairs", "alike_kept")}
    return {"out": out, **report, "duplicates": duplicates}


def as_markdown(report: dict[str, Any]) -> str:
    """The whole report in Markdown; the picture is linked from it."""
    parts = [
        "# Curation report",
        as_summary(report, Path(".")).replace("; report: report.md", "."),
        "## Stages",
        _stages(report["stages"]),
        "## Images left, by source",
        _by_source(report["stages"]),
        "## Splits",
        _splits(report["splits"]),
        "## Noise",
        _noise(report["noise"]),
        "## Duplicates",
        _duplicates(report["duplicates"]),
        "## Categories",
        _counts("Category", report["categories"]),
        _counts("Superclass", report["superclasses"]),
        "Names outside Table 7 (give them a place with `--category-map`):",
        _unmapped(report["mapped"]),
        "## Problems",
        _problems(report["problems"]),
        "## Distributions",
        "![Distributions of what was measured and of what is kept](histograms.png)",
    ]
    return "\n\n".join(parts) + "\n"


def _stages(stages: list[dict[str, Any]]) -> str:
    rows = []
    for stage in stages:
        reasons = ", ".join(f"{count} {reason}" for reason, count in stage["dropped"].items())
        rows.append(
            (stage["stage"], stage["in"], stage["in"] - stage["out"], stage["out"], reasons)
        )
    return _table(("Stage", "In", "Dropped", "Out", "Reasons"), rows)


def _by_source(stages: list[dict[str, Any]]) -> str:
    sources = list(stages[0]["by_source"])
    rows = []
    for source in sources:
        counts = [stage["by_source"].get(source, {"out": 0})["out"] for stage in stages]
        rows.append((source, stages[0]["by_source"][source]["in"], *counts))
    return _table(("Source", "in", *(stage["stage"] for stage in stages)), rows)


def _splits(splits: dict[str, Any]) -> str:
    rows = [(source, *counts.values()) for source, counts in splits["by_source"].items()]
    for what in ("images", "objects", "masks"):
        rows.append((f"**all: {what}**", *(t[what] for t in splits["totals"].values())))
    table = _table(("Source", *SUBSETS), rows)
    straddling = splits["bags_in_two_splits"]
    return f"{table}\n\nBags that a data set's own splits divide: {straddling}."


def _noise(noise: dict[str, Any]) -> str:
    by_source = noise["percentiles"]
    columns = list(next(iter(by_source.values()), {}))
    rows = [(source, *values.values()) for source, values in by_source.items()]
    return (
        f"T = {noise['threshold']:.2f} ({noise['rule']}); {noise['above']} images lie above it. "
        "Percentiles of the Laplacian's variance:\n\n"
        + _table(("Source", *(f"p{column}" for column in columns)), rows)
    )


def _duplicates(found: dict[str, Any]) -> str:
    alike = found["alike_kept"]
    text = (
        f"Equal files: {found['equal_files']}. Near duplicates: {found['near']}. Of both, pairs "
        f"with other objects: {found['other_objects']}. Pairs that look alike and stay, as views "
        f"of one bag or for their other objects: {len(alike)}. All are in report.json; dropped "
        "ones with other objects first:"
    )
    pairs = sorted(found["pairs"], key=lambda pair: pair["same_objects"])
    rows = [
        (
            pair["dropped"],
            pair["kept"],
            "equal file" if pair["distance"] is None else f"{pair['distance']} bits",
            pair["orientation"],
            "" if pair["same_objects"] else f"{pair['objects_dropped']}, {pair['objects_kept']}",
        )
        for pair in pairs[:_MOST_ROWS]
    ]
    header = ("Dropped", "Kept", "Distance", "Orientation", "Objects, dropped and kept")
    parts = [text, _table(header, rows)]
    if alike:
        parts += ["Look alike and stay:", _table(("Image", "Image"), alike[:_MOST_ROWS])]
    return "\n\n".join(parts)


def _counts(title: str, counts: dict[str, dict[str, int]]) -> str:
    rows = [(n, *by.values(), sum(by.values())) for n, by in counts.items() if any(by.values())]
    return _table((title, *SUBSETS, "all"), rows)


def _unmapped(mapped: list[list[Any]]) -> str:
    rows = [
        (source, name, count) for source, name, number, count in mapped if number == UNMAPPED_ID
    ]
    return _table(("Source", "Name", "Objects"), rows)


def _problems(problems: dict[str, Any]) -> str:
    if not problems["counts"]:
        return "None."
    table = _table(("Problem", "Count"), problems["counts"].items())
    shown = [f"- {p['kind']}: `{p['where']}`: {p['detail']}" for p in problems["examples"]]
    return table + "\n\nThe first of each kind:\n\n" + "\n".join(shown)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    rows = list(rows)
    if not rows:
        return "None."
    lines = [header, ["---"] * len(header), *rows]
    # a bar in a name would end its cell
    return "\n".join(f"| {' | '.join(str(c).replace('|', '/') for c in line)} |" for line in lines)
