"""Accuracy of answered categories, by category and by superclass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_train.categories import (
    CATEGORIES,
    CLASSES,
    LABELS,
    SUPERCLASS,
    SUPERCLASSES,
    UNKNOWN,
    superclass_label,
)
from apsam_train.labels.answers import Named

Counts = NDArray[np.int64]

_SUPERCLASS_OF = np.array([superclass_label(label) for label in range(len(LABELS))])


def figures(named: Sequence[Named]) -> dict[str, Any]:
    """Shares from 0 to 1, None where nothing could count.

    top1: of the objects whose category is known; macro: the mean of the categories' own top1;
    superclass: of those and of the objects whose label is a superclass only; none: share of all
    these that were answered "none". Objects outside Table 7 are counted, and left out.
    """
    outside = Counter(one.category for one in named if one.truth == UNKNOWN)
    inside = [one for one in named if one.truth != UNKNOWN]
    truth = np.array([one.truth for one in inside], np.int64)
    answer = np.array([one.answer for one in inside], np.int64)
    probability = np.array([one.probability for one in inside])
    fine = truth < len(CLASSES)
    right = truth[fine] == answer[fine]
    classes = per_class(confusion(truth[fine], answer[fine]))
    return {
        "num_objects": len(inside),
        "num_fine": int(fine.sum()),
        "num_superclass_only": int((~fine).sum()),
        "num_outside": outside.total(),
        "outside": dict(outside.most_common()),
        "top1": _mean(right),
        "macro": _mean(np.array([one["accuracy"] for one in classes if one["num_asked"]])),
        "superclass": _mean(_SUPERCLASS_OF[truth] == _SUPERCLASS_OF[answer]),
        "none": _mean(answer == 0),
        "probability_right": _mean(probability[fine][right]),
        "probability_wrong": _mean(probability[fine][~right]),
    }


def confusion(truth: Counts, answer: Counts) -> Counts:
    """Objects by category (row) and answered class (column), [30, 31]; truth 1 to 30, answer 0 to
    30."""
    counts = np.zeros((len(CATEGORIES), len(CLASSES)), np.int64)
    np.add.at(counts, (truth - 1, answer), 1)
    return counts


def confusions(named: Sequence[Named]) -> tuple[Counts, Counts]:
    """`confusion` of the objects whose category is known, and objects of all labels by superclass
    (row) and answered superclass, after none (column), [10, 11]."""
    truth = np.array([one.truth for one in named if one.truth != UNKNOWN], np.int64)
    answer = np.array([one.answer for one in named if one.truth != UNKNOWN], np.int64)
    fine = truth < len(CLASSES)
    coarse = np.zeros((len(SUPERCLASSES), 1 + len(SUPERCLASSES)), np.int64)
    first = len(CLASSES)
    column = np.where(answer == 0, 0, _SUPERCLASS_OF[answer] - first + 1)
    np.add.at(coarse, (_SUPERCLASS_OF[truth] - first, column), 1)
    return confusion(truth[fine], answer[fine]), coarse


def per_class(counts: Counts) -> list[dict[str, Any]]:
    """Every category's figures from a `confusion`: num_asked, how often its objects were asked for;
    accuracy, the share of that with the right answer; precision, the share of its answers that is
    right; and what it is most often taken for."""
    rows = []
    for number, name in enumerate(CATEGORIES):
        row, right = counts[number], int(counts[number, number + 1])
        others = row.copy()
        others[number + 1] = 0
        num_asked, num_answers = int(row.sum()), int(counts[:, number + 1].sum())
        worst = int(others.argmax())
        rows.append(
            {
                "name": name,
                "superclass": SUPERCLASS[name],
                "num_asked": num_asked,
                "accuracy": right / num_asked if num_asked else None,
                "precision": right / num_answers if num_answers else None,
                "taken_for": CLASSES[worst] if others[worst] else None,
                "taken_for_share": float(others[worst] / num_asked) if num_asked else None,
            }
        )
    return rows


def over_seeds(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread (largest minus smallest) of the shares; counts are equal for all seeds."""
    merged = dict(results[0])
    for name, value in results[0].items():
        values = [one[name] for one in results]
        if name.startswith(("num_", "outside")) or value is None:
            continue
        # A seed may answer everything right, and then has no wrong answer's probability.
        known = [one for one in values if one is not None]
        merged[name] = float(np.mean(known))
        merged[f"{name}_spread"] = float(np.ptp(known))
    return merged


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
