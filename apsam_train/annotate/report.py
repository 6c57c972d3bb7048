"""`apsam-train annotate report`: what the rounds cost and brought, as a table and a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from apsam_train.annotate.accept import require_reviews
from apsam_train.annotate.record import Review, Round
from apsam_train.tables import Table

_HEADINGS = (
    *("round", "model", "images", "objects", "touched", "added", "deleted", "renamed"),
    *("proposal mIoU", "box IoU before", "after", "reviewer", "second opinion"),
)


def write_report(rounds: Sequence[Path], *, out: Path) -> dict[str, Round]:
    """Write a Markdown table of reviewed rounds and, beside it, the curve as PNG; returns the
    rounds by folder.

    Raises DatasetError for a round that has not been reviewed.
    """
    records = {folder.name: require_reviews(folder) for folder in rounds}
    picture = out.with_suffix(".png")
    out.parent.mkdir(parents=True, exist_ok=True)
    miou = [record.reviews[-1].miou for record in records.values()]
    draw_curves(picture, {"proposal against its correction": miou}, first=1)
    text = (
        f"# Annotation rounds\n\n{table(records)}\n\n"
        "Touched: share of the proposals that were corrected or deleted. Proposal mIoU: proposals "
        "against\nwhat the last review made of them, deleted ones count 0. Box IoU: agreement with "
        "the boxes known\nbeforehand, of the proposals and of the corrected masks. Second opinion: "
        "mIoU of the last review with\nan earlier one by another person.\n\n"
        f"![mIoU by round]({picture.name})\n"
    )
    out.write_text(text, encoding="utf-8")
    return records


def as_table(records: Mapping[str, Round]) -> Table:
    """The same table for the terminal."""
    return Table(columns=_HEADINGS, rows=[_row(name, record) for name, record in records.items()])


def table(records: Mapping[str, Round]) -> str:
    """One Markdown row per round, by its last review."""
    rows = [_HEADINGS, ("---",) * len(_HEADINGS)]
    rows += [_row(name, record) for name, record in records.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def draw_curves(file: Path, curves: Mapping[str, Sequence[float]], *, first: int) -> None:
    """Draw curves of mIoU in per cent by round; each ends at the last round and is as long as it
    is. first: number of the round that the longest curve starts with."""
    figure = Figure(figsize=(6.4, 3.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    last = first + max(len(values) for values in curves.values()) - 1
    for name, values in curves.items():
        rounds = range(last - len(values) + 1, last + 1)
        axes.plot(rounds, [100 * value for value in values], marker="o", label=name)
    axes.set_xticks(range(first, last + 1))
    axes.set_xlabel("round")
    axes.set_ylabel("mIoU %")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(file)


def _row(name: str, record: Round) -> tuple[str, ...]:
    review = record.reviews[-1]
    digest = record.proposed.model_sha256
    # Checkpoints are all called model.safetensors; their folders tell them apart.
    model = "/".join(Path(record.proposed.model).parts[-2:])
    model += f" ({digest[:8]})" if digest else ""
    proposed = review.num_unchanged + review.num_corrected + review.num_deleted
    return (
        *(name, model, str(review.num_images), str(proposed), f"{review.share_touched:.1%}"),
        *(str(review.num_added), str(review.num_deleted), str(review.num_renamed)),
        *(f"{review.miou:.1%}", f"{review.box_iou_before:.1%}", f"{review.box_iou_after:.1%}"),
        *(review.reviewer, _opinion(review)),
    )


def _opinion(review: Review) -> str:
    found = review.agreement
    if found is None:
        return "-"
    return f"{found.miou:.1%} with {found.with_reviewer}, {found.num_unmatched} unmatched"
