"""Means over scores: the headline, and by size, overlap and category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from apsam_train.evaluate.score import Asking, InstanceScore

_SIZES = (("small", 32**2), ("medium", 96**2))
"""Upper limits in pixels of the image, as COCO has them; all above is large."""
_OVERLAPS = (("none", 0.0), ("some", 0.3))
"""Upper limits of the covered share; all above is much."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Means over instances (the headline) and over images."""

    miou: float
    dice: float
    boundary_iou: float
    miou_by_image: float
    dice_by_image: float
    num_instances: int
    num_images: int


def summarise(scores: Sequence[InstanceScore]) -> Summary:
    """Average scores; zeros when there are none."""
    by_image = _grouped(scores, lambda one: one.image)
    return Summary(
        miou=_mean([s.iou for s in scores]),
        dice=_mean([s.dice for s in scores]),
        boundary_iou=_mean([s.boundary_iou for s in scores]),
        miou_by_image=_mean([_mean([s.iou for s in group]) for group in by_image.values()]),
        dice_by_image=_mean([_mean([s.dice for s in group]) for group in by_image.values()]),
        num_instances=len(scores),
        num_images=len(by_image),
    )


def figures(scores: Mapping[Asking, Sequence[InstanceScore]]) -> dict[str, Any]:
    """{"num_instances", "protocols": {name: `over_seeds` and its `breakdown`}}."""
    protocols = {}
    for name in dict.fromkeys(asking.protocol for asking in scores):
        by_seed = [part for asking, part in scores.items() if asking.protocol == name]
        protocols[name] = over_seeds([summarise(part) for part in by_seed])
        protocols[name]["breakdown"] = breakdown([one for part in by_seed for one in part])
    return {"num_instances": len(next(iter(scores.values()))), "protocols": protocols}


def over_seeds(summaries: Sequence[Summary]) -> dict[str, Any]:
    """Mean and spread (largest minus smallest) over seeds, and every seed's own figures."""
    means: dict[str, Any] = {}
    for name in ("miou", "dice", "boundary_iou"):
        values = [getattr(summary, name) for summary in summaries]
        means[name] = float(np.mean(values))
        means[f"{name}_spread"] = float(np.ptp(values))
    return means | {"by_seed": [asdict(summary) for summary in summaries]}


def breakdown(scores: Sequence[InstanceScore]) -> dict[str, dict[str, dict[str, float]]]:
    """{"size" | "overlap" | "category": {group: {"miou", "dice", "num_scores"}}}; overlap only for
    objects where it is known."""
    known = [one for one in scores if one.overlap is not None]
    groups = {
        "size": _grouped(scores, lambda one: _below(one.area, _SIZES, "large")),
        "overlap": _grouped(known, lambda one: _below(one.overlap or 0.0, _OVERLAPS, "much")),
        "category": _grouped(scores, lambda one: one.category),
    }
    return {
        kind: {name: _figures(group) for name, group in sorted(parts.items())}
        for kind, parts in groups.items()
    }


def _figures(scores: Sequence[InstanceScore]) -> dict[str, float]:
    summary = summarise(scores)
    return {"miou": summary.miou, "dice": summary.dice, "num_scores": summary.num_instances}


def _below(value: float, limits: tuple[tuple[str, float], ...], rest: str) -> str:
    return next((name for name, limit in limits if value <= limit), rest)


def _grouped(
    scores: Sequence[InstanceScore], key: Callable[[InstanceScore], str]
) -> dict[str, list[InstanceScore]]:
    groups: dict[str, list[InstanceScore]] = defaultdict(list)
    for one in scores:
        groups[key(one)].append(one)
    return groups


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
