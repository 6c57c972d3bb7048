"""Finding again what an annotation tool has renamed and renumbered: images by name, objects by
overlap."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from apsam_train.annotate.documents import OutlinedObject, ProposedObject
from apsam_train.data.boxes import box_iou
from apsam_train.data.rle import box_of_rle, iou_table
from apsam_train.errors import DatasetError

LEAST_IOU = 0.1
"""Two masks that share less are not the same object."""
LEAST_BOX_IOU = 0.5
"""An object drawn from scratch is recognised by the box that was known of it."""
_SAME_CATEGORY = 1e-6
"""Decides between masks that overlap equally."""
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the names of uploaded files."""
_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """matched: (index in first, index in second, IoU of the masks); the indices without partner."""

    matched: tuple[tuple[int, int, float], ...]
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]


def match_images(found: Iterable[str], known: Sequence[str]) -> dict[str, str]:
    """found name -> known name: the whole path, else as many of its last parts as are needed to
    tell the known ones apart, else the file's stem (tools change suffixes).

    Raises DatasetError listing names that are not known, fit several, or name one image twice.
    """
    resolved: dict[str, str] = {}
    unknown: list[str] = []
    ambiguous: list[str] = []
    by_tail = _by_tail(known)
    for name in found:
        fitting = _fitting(name, by_tail)
        if len(fitting) == 1:
            resolved[name] = fitting[0]
        else:
            (ambiguous if fitting else unknown).append(name)
    if unknown:
        raise DatasetError(
            f"{len(unknown)} images are not of this round: {_some(unknown)}; it has "
            f"{_some(known)}; hand in the correction of this round's proposals"
        )
    if ambiguous:
        raise DatasetError(
            f"{len(ambiguous)} image names fit several images of this round: {_some(ambiguous)}; "
            "put their folders back in front of the names"
        )
    counts = Counter(resolved.values())
    twice = [name for name, known_name in resolved.items() if counts[known_name] > 1]
    if twice:
        raise DatasetError(
            f"several records name the same image of this round: {_some(sorted(twice))}; hand in "
            "each image once"
        )
    return resolved


def match_proposals(
    proposed: Sequence[ProposedObject], corrected: Sequence[OutlinedObject]
) -> Pairs:
    """Each object at most once, so that overlaps add up to most (Hungarian method): IoU of the
    masks plus IoU of the known box with the corrected mask's. The box counts as much as the mask,
    because a bad proposal may well lie on another object than the one it was asked for."""
    shape = len(proposed), len(corrected)
    filled = [index for index, one in enumerate(proposed) if one.mask is not None]
    masks = [one.mask for one in proposed if one.mask is not None]
    ious = np.zeros(shape)
    ious[filled] = iou_table(masks, [one.mask for one in corrected])
    boxes = [box_of_rle(one.mask) for one in corrected]
    by_box = [[box_iou(one.known_box, box) for box in boxes] for one in proposed]
    box_ious = np.reshape(np.array(by_box, np.float64), shape)
    same = [[one.category == other.category for other in corrected] for one in proposed]
    similarity = ious + box_ious + _SAME_CATEGORY * np.reshape(np.array(same, np.float64), shape)
    return _pairs(ious, _assign(similarity, (ious >= LEAST_IOU) | (box_ious >= LEAST_BOX_IOU)))


def match_outlined(first: Sequence[OutlinedObject], second: Sequence[OutlinedObject]) -> Pairs:
    """The same objects as two reviewers left them."""
    ious = iou_table([one.mask for one in first], [one.mask for one in second])
    return _pairs(ious, _assign(ious, ious >= LEAST_IOU))


def _assign(similarity: NDArray[np.float64], allowed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    # What is not allowed counts nothing, so that it cannot displace what is.
    rows, columns = linear_sum_assignment(np.where(allowed, similarity, 0.0), maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if allowed[i, j]]


def _pairs(ious: NDArray[np.float64], matched: list[tuple[int, int]]) -> Pairs:
    first, second = {i for i, _ in matched}, {j for _, j in matched}
    return Pairs(
        matched=tuple((i, j, float(ious[i, j])) for i, j in sorted(matched)),
        only_first=tuple(i for i in range(ious.shape[0]) if i not in first),
        only_second=tuple(j for j in range(ious.shape[1]) if j not in second),
    )


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _by_tail(known: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """Every tail of every known name, with and without the file's suffix."""
    tails: dict[tuple[str, ...], list[str]] = {}
    for name in known:
        parts = _parts(name)
        for start in range(len(parts)):
            tail = parts[start:]
            for key in {tail, _without_suffix(tail)}:
                tails.setdefault(key, []).append(name)
    return tails


def _fitting(name: str, by_tail: Mapping[tuple[str, ...], list[str]]) -> list[str]:
    parts = _parts(name)
    if not parts:
        return []
    plain = (*parts[:-1], _UPLOAD_PREFIX.sub("", parts[-1]))
    for form in (parts, plain, _without_suffix(parts), _without_suffix(plain)):
        # The longest tail first: it is the one that most of the known names differ in.
        for start in range(len(form)):
            if form[start:] in by_tail:
                return _exact(form, by_tail[form[start:]])
    return []


def _exact(form: tuple[str, ...], fitting: list[str]) -> list[str]:
    same = [name for name in fitting if _parts(name) == form]
    return same or fitting


def _without_suffix(parts: tuple[str, ...]) -> tuple[str, ...]:
    return (*parts[:-1], parts[-1].rpartition(".")[0] or parts[-1])


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NUM_SHOWN])
    return f"{shown} ..." if len(names) > _NUM_SHOWN else shown
