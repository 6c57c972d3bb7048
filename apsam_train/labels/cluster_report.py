"""What clustering found, as a page and as a table of suspects."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apsam_train.labels.cluster_sheets import kinds_file
from apsam_train.labels.kinds import TwoKinds
from apsam_train.labels.neighbours import Neighbourhood
from apsam_train.labels.objects import ObjectRef
from apsam_train.labels.suspects import MixedPair, Suspect
from apsam_train.tables import Table

_PLACE = ("rank", "image", "object", "split")
_SCORES = ("category", "suggested", "score", "own_support", "suggested_support")
_COLUMNS = ("category", "objects", "agreeing neighbours %", "suspects")
_BOX = ("left", "top", "right", "bottom")


@dataclass(frozen=True, kw_only=True, eq=False)
class Questions:
    """Everything that a person is asked to look at. num_drawn: how many suspects are drawn."""

    near: Neighbourhood
    suspects: Sequence[Suspect]
    kinds: Sequence[TwoKinds]
    pairs: Sequence[MixedPair]
    fewest: int
    num_drawn: int


def write_suspects(file: Path, objects: Sequence[ObjectRef], suspects: Sequence[Suspect]) -> None:
    """CSV, a line per suspect, the most suspect first; the box in image pixels."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*_PLACE, *_SCORES, *_BOX])
        for rank, one in enumerate(suspects, start=1):
            place = objects[one.position]
            box = place.box
            shares = (one.score, one.own_support, one.suggested_support)
            writer.writerow(
                [
                    *(rank, place.image, place.number, place.split),
                    *(one.category, one.suggested, *(f"{share:.3f}" for share in shares)),
                    *(f"{edge:g}" for edge in (box.left, box.top, box.right, box.bottom)),
                ]
            )


def as_markdown(
    questions: Questions, objects: Sequence[ObjectRef], *, facts: Mapping[str, str]
) -> str:
    """The whole page. facts: what a reader needs to repeat it, in order."""
    parts = [
        "# Labels worth a second look",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        "Nothing was relabelled. Every line below is a question for someone who knows the objects; "
        "a model that was trained on these very labels has learnt part of their errors, and asks "
        "fewer questions than one that was trained on others.",
        "![All objects, suspects ringed](projection.png)",
        "## Objects whose neighbours have another label",
        _suspects(questions, objects),
        "## Categories that look like two kinds",
        _kinds(questions),
        "## Categories that cannot be told apart",
        _pairs(questions),
        "## Categories",
        _categories(questions, objects),
    ]
    return "\n\n".join(parts) + "\n"


def as_table(questions: Questions, objects: Sequence[ObjectRef]) -> Table:
    """A line per category, for the terminal."""
    return Table(columns=_COLUMNS, rows=_rows(questions, objects))


def as_document(questions: Questions, objects: Sequence[ObjectRef]) -> dict[str, Any]:
    """All questions as plain values."""
    return {
        "num_objects": len(objects),
        "suspects": [
            {
                "image": objects[one.position].image,
                "object": objects[one.position].number,
                "category": one.category,
                "suggested": one.suggested,
                "score": round(float(one.score), 3),
            }
            for one in questions.suspects
        ],
        "two_kinds": [
            {"category": one.category, "num_objects": [len(part) for part in one.parts]}
            for one in questions.kinds
        ],
        "mixed_pairs": [
            {"categories": list(pair.names), "rate": float(pair.rate)} for pair in questions.pairs
        ],
    }


def kinds_line(kinds: TwoKinds) -> str:
    """ "Scissors looks like two kinds (41 and 23 objects)"."""
    first, second = map(len, kinds.parts)
    return f"{kinds.category} looks like two kinds ({first} and {second} objects)"


def _suspects(questions: Questions, objects: Sequence[ObjectRef]) -> str:
    suspects, near = questions.suspects, questions.near
    unjudged = int(np.isnan(near.own_support()).sum())
    text = (
        f"{len(suspects)} of {len(objects)} objects, all in suspects.csv. Score: share of the "
        f"{near.k} nearest objects of other bags with the suggested label, less the share with its "
        f"own. {unjudged} objects were not judged, for want of others of their category."
    )
    if not suspects:
        return text
    moves = Counter((one.category, one.suggested) for one in suspects).most_common(20)
    rows = [f"| {own} | {other} | {count} |" for (own, other), count in moves]
    table = "\n".join(["| label | looks like | objects |", "|---|---|---|", *rows])
    first = f"The first {questions.num_drawn}:\n\n![The most suspect objects](suspects.jpg)"
    return "\n\n".join([text, table, first] if questions.num_drawn else [text, table])


def _kinds(questions: Questions) -> str:
    if not questions.kinds:
        return f"None of those with {questions.fewest} objects or more."
    return "\n\n".join(
        f"{kinds_line(one)}: silhouette {one.silhouette:.2f} along the line between both; objects "
        f"of one kind reach {one.chance:.2f} by chance.\n\n"
        f"![Both kinds of {one.category}]({kinds_file(one.category)})"
        for one in questions.kinds
    )


def _pairs(questions: Questions) -> str:
    if not questions.pairs:
        return f"None of those with {questions.fewest} objects or more."
    lines = [
        "Mixing is 0 for categories that lie apart, and 0.5 for labels as if drawn by lot.",
        "",
        "| category | objects | category | objects | mixing |",
        "|---|---|---|---|---|",
    ]
    for pair in questions.pairs:
        (one, other), (num, num_other) = pair.names, pair.num_objects
        lines.append(f"| {one} | {num} | {other} | {num_other} | {pair.rate:.2f} |")
    return "\n".join(lines)


def _categories(questions: Questions, objects: Sequence[ObjectRef]) -> str:
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in _rows(questions, objects)]
    return "\n".join(lines)


def _rows(questions: Questions, objects: Sequence[ObjectRef]) -> list[tuple[object, ...]]:
    own, near = questions.near.own_support(), questions.near
    inside = {one.category for one in objects if one.in_table_7}
    num_suspects = Counter(one.category for one in questions.suspects)
    rows: list[tuple[object, ...]] = []
    for number, name in enumerate(near.names):
        support = own[near.code == number]
        judged = support[~np.isnan(support)]
        share = f"{judged.mean() * 100:.1f}" if len(judged) else "-"
        note = "" if name in inside else " (outside Table 7)"
        rows.append((f"{name}{note}", len(support), share, num_suspects[name]))
    return rows
