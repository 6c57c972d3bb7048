"""Answers as JSON, and as a line for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.client import Proposal
from apsam_serve.contract import masks
from apsam_serve.contract.prompts import Point
from apsam_serve.contract.segmenter import Segmentation
from apsam_serve.engine.replies import Embedding


def segmentation_document(answer: Segmentation) -> dict[str, Any]:
    """Everything but the times. mask: COCO's compressed run lengths."""
    return {
        "branch": answer.branch,
        "score": round(answer.score, 6),
        "category": answer.category,
        "category_probability": answer.category_probability,
        "area": int(answer.mask.sum()),
        "bbox": bounding_box(answer.mask),
        "points": [asdict(point) for point in answer.points],
        "mask": rle_document(answer.mask),
    }


def proposal_document(proposal: Proposal) -> dict[str, Any]:
    """The suggested click and its answer."""
    return {
        "click": {"x": proposal.click.x, "y": proposal.click.y},
        "attention": round(proposal.attention, 6),
        **segmentation_document(proposal.segmentation),
    }


def embedding_document(embedding: Embedding, server: str) -> dict[str, Any]:
    """A held image. server: HOST:PORT of the process that holds it."""
    return {**asdict(embedding), "server": server}


def times_document(answers: Sequence[Segmentation], round_trip_s: float) -> dict[str, float]:
    """Milliseconds by stage; the answers of one call share their times."""
    timings = {**(answers[0].timings_s if answers else {}), "round_trip": round_trip_s}
    return {stage: round(seconds * 1000, 3) for stage, seconds in timings.items()}


def rle_document(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's form of a mask, bool [H, W]."""
    return {"size": list(mask.shape), "counts": masks.encode_rle(mask).counts}


def bounding_box(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's [left, top, width, height] in pixels; zeros for an empty mask."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        return [0, 0, 0, 0]
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def category_text(answer: Segmentation) -> str:
    """Nothing from a model without a category head."""
    if answer.category_probability is None:
        return ""
    return f"{answer.category or 'no contraband'} {answer.category_probability:.2f}, "


def points_text(points: Sequence[Point]) -> str:
    """(x, y), (x, y)."""
    return ", ".join(f"({point.x:.1f}, {point.y:.1f})" for point in points)
