"""What the gate found out about one build, and whether that is good enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_export.gate.thresholds import Thresholds
from apsam_serve.contract.manifest import Gate
from apsam_serve.contract.masks import Mask
from apsam_serve.contract.prompts import Prompt

Points = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of one tensor over all samples, relative to the reference's largest value."""

    max: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """IoU of masks with the reference's."""

    min: float
    mean: float
    num_prompts: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One prompt for people to look at. reference, built: masks bool [H, W] of the same token;
    points: adaptive points of either in image pixels, float32 [N, 2]; flipped: the build's user
    gets another token's mask; tied: the reference had no clear choice."""

    picture: int
    kind: str
    image: NDArray[np.uint8]
    prompt: Prompt
    reference: Mask
    built: Mask
    reference_points: Points
    built_points: Points
    mask_iou: float
    flipped: bool
    tied: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """One build against a reference, on `ran_on`.

    masks: of the reference's token, by kind of prompt, and over all; answer_iou: of the masks that
    a user gets, who may get another token's; flips, clear_flips: shares of prompts with another
    best-of-four, of all and of those where the reference had a clear choice (num_clear);
    same_points: share whose adaptive points are the same; points_distance: the largest, in cells,
    where both have points; num_other_places: images whose energy query is made of other places, in
    a tie of attention; worst: pictures, which no file keeps.
    """

    build: str
    reference: str
    ran_on: str
    tensors: Mapping[str, Difference]
    masks: Mapping[str, Agreement]
    mask_iou: Agreement
    answer_iou: Agreement
    flips: float
    clear_flips: float
    num_clear: int
    same_points: float
    points_distance: float
    num_other_places: int
    num_images: int
    thresholds: Thresholds
    worst: tuple[Case, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no figure is worse than its threshold."""
        return not self.failures()

    def failures(self) -> list[str]:
        """Every figure that is worse than its threshold, in words; NaN is worse than all."""
        limit = self.thresholds
        found = []
        for name, tensor in self.tensors.items():
            for kind, value, most in (
                ("max", tensor.max, limit.max_difference),
                ("mean", tensor.mean, limit.mean_difference),
            ):
                if not value <= most:
                    found.append(
                        f"{name} differs from {self.reference} by {value:.2e} ({kind}) of its "
                        f"largest value, at most {most:.0e} is accepted"
                    )
        for what, value, least in (
            ("the worst mask's IoU with that of", self.mask_iou.min, limit.min_mask_iou),
            ("the masks' mean IoU with those of", self.mask_iou.mean, limit.mean_mask_iou),
            ("the share of adaptive points like those of", self.same_points, limit.same_points),
        ):
            if not value >= least:
                found.append(f"{what} {self.reference} is {value:.4f}, at least {least} is needed")
        if not self.clear_flips <= limit.clear_flips:
            found.append(
                f"{self.clear_flips:.1%} of {self.num_clear} clear choices of the best mask differ "
                f"from {self.reference}, at most {limit.clear_flips:.1%} are accepted"
            )
        return found

    def gate(self) -> Gate:
        """The verdict as the manifest keeps it."""
        failures = self.failures()
        return Gate(
            passed=not failures,
            detail=failures[0] if failures else f"{self.summary()}; on {self.ran_on}",
            thresholds=asdict(self.thresholds),
        )

    def summary(self) -> str:
        """The figures in one line."""
        largest = max(tensor.max for tensor in self.tensors.values())
        return (
            f"tensors within {largest:.1e} of {self.reference}, mask IoU min "
            f"{self.mask_iou.min:.4f} mean {self.mask_iou.mean:.4f} over "
            f"{self.mask_iou.num_prompts} prompts, best-of-four flips {self.flips:.1%} (clear ones "
            f"{self.clear_flips:.1%}), same adaptive points {self.same_points:.1%}"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, without pictures."""
        document = asdict(replace(self, worst=()))
        del document["worst"]
        return document | {"passed": self.passed}

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Report:
        """What `to_json` wrote."""
        plain = {name: value for name, value in document.items() if name != "passed"}
        return cls(
            **plain
            | {
                "tensors": {n: Difference(**d) for n, d in plain["tensors"].items()},
                "masks": {kind: Agreement(**a) for kind, a in plain["masks"].items()},
                "mask_iou": Agreement(**plain["mask_iou"]),
                "answer_iou": Agreement(**plain["answer_iou"]),
                "thresholds": Thresholds(**plain["thresholds"]),
            }
        )


Outcome = Report | str
"""What was found about one build, or why this machine cannot look."""
