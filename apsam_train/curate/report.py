"""What went in, what came out, and why: OUT/report.json, report.md and histograms.png."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apsam_train.categories import SUPERCLASS
from apsam_train.curate.filters.split import SUBSETS
from apsam_train.curate.histograms import draw_histograms
from apsam_train.curate.index import header, records, stage_key
from apsam_train.curate.record import Record
from apsam_train.curate.report_text import as_markdown
from apsam_train.curate.taxonomy import UNMAPPED, coco_categories
from apsam_train.data.problems import ProblemLog
from apsam_train.files import write_whole

_FILES = ("report.json", "report.md", "histograms.png")


def write_report(out: Path, indexes: Sequence[Path], log: ProblemLog) -> dict[str, Any]:
    """Write the report of finished stages, unless it is there; returns it as plain values."""
    keys = [header(index)["key"] for index in indexes]
    key = stage_key("report", source=keys[-1], options={"keys": keys, "problems": log.to_json()})
    if all((out / name).is_file() for name in _FILES):
        report: dict[str, Any] = json.loads((out / _FILES[0]).read_text(encoding="utf-8"))
        if report["key"] == key:
            return report
    by_stage = {header(index)["stage"]: records(index) for index in indexes}
    notes = {header(index)["stage"]: header(index)["notes"] for index in indexes}
    report = {"key": key, **build_report(by_stage, notes), "problems": log.to_json()}
    measured = [record for record in by_stage["measure"] if record.width]
    threshold = notes["noise"]["threshold"]
    draw_histograms(out / _FILES[2], measured, by_stage["merge"], noise_threshold=threshold)
    write_whole(out / _FILES[1], as_markdown(report))
    write_whole(out / _FILES[0], json.dumps(report, indent=1) + "\n")
    return report


def build_report(
    by_stage: dict[str, list[Record]], notes: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Everything but the problems, as plain values."""
    return {
        "stages": [_stage(name, found) for name, found in by_stage.items()],
        "noise": notes["noise"],
        "duplicates": _duplicates(by_stage["duplicates"]) | notes["duplicates"],
        "splits": _splits(by_stage["merge"], notes["merge"]) | notes["split"],
        **_categories(notes["merge"]["splits"]),
        "mapped": notes["merge"]["mapped"],
        "placed": notes["merge"]["placed"],
    }


def _stage(name: str, found: list[Record]) -> dict[str, Any]:
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    for record in found:
        by_source[record.source]["in"] += 1
        by_source[record.source]["out"] += not record.dropped
    return {
        "stage": name,
        "in": len(found),
        "out": sum(not record.dropped for record in found),
        "dropped": dict(Counter(r.dropped for r in found if r.dropped).most_common()),
        "by_source": {source: dict(counts) for source, counts in by_source.items()},
    }


def _duplicates(found: list[Record]) -> dict[str, Any]:
    """Pairs of kept and dropped copies; those with other objects are for a person to look at."""
    by_id = {record.id: record for record in found}
    pairs = []
    for record in found:
        copy = record.duplicate
        if copy is not None:
            kept = by_id[copy.of]
            pairs.append(
                {
                    "dropped": record.id,
                    "kept": kept.id,
                    "distance": copy.distance,
                    "orientation": copy.orientation,
                    "same_objects": copy.same_objects,
                    "objects_dropped": dict(Counter(record.categories)),
                    "objects_kept": dict(Counter(kept.categories)),
                }
            )
    return {
        "equal_files": sum(pair["distance"] is None for pair in pairs),
        "near": sum(pair["distance"] is not None for pair in pairs),
        "other_objects": sum(not pair["same_objects"] for pair in pairs),
        "pairs": pairs,
    }


def _splits(kept: list[Record], notes: dict[str, Any]) -> dict[str, Any]:
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    for record in kept:
        by_source[record.source][record.subset] += 1
    rows = {s: {subset: counts[subset] for subset in SUBSETS} for s, counts in by_source.items()}
    totals = {
        subset: {what: counts[what] for what in ("images", "objects", "masks")}
        for subset, counts in notes["splits"].items()
    }
    return {"totals": totals, "by_source": rows}


def _categories(splits: dict[str, Any]) -> dict[str, Any]:
    """Objects by category and by superclass: name -> {split: count}."""
    fine: dict[str, dict[str, int]] = {}
    coarse: dict[str, Counter[str]] = defaultdict(Counter)
    for category in coco_categories():
        name, number = category["name"], str(category["id"])
        counts = {s: found["categories"].get(number, 0) for s, found in splits.items()}
        coarse[category["supercategory"]].update(counts)
        fine[name if name in (*SUPERCLASS, UNMAPPED) else f"{name} (unspecified)"] = counts
    return {"categories": fine, "superclasses": {s: dict(c) for s, c in coarse.items()}}
