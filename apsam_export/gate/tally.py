"""Pairs of reference and build, collected and summed up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apsam_export.gate.reference import Choice, Shot
from apsam_export.gate.report import Agreement, Case, Difference, Points, Report
from apsam_export.gate.samples import SamplePrompt
from apsam_export.gate.sides import Floats, Tensors
from apsam_export.gate.thresholds import Thresholds
from apsam_serve.contract.masks import Mask, mask_iou
from apsam_serve.contract.preprocess import MASK_STRIDE
from apsam_serve.prompting.base import DecoderOutput

NUM_PICTURES = 4
"""Worst cases that a report keeps."""
ENERGY_PLACES = 4
"""How many places of highest attention the energy query is made of, in every preset, in order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """One prompt. answer_iou: of what a user gets; distance: of adaptive points in cells, None
    where one side has none."""

    kind: str
    mask_iou: float
    answer_iou: float
    flipped: bool
    tied: bool
    same_points: bool
    distance: float | None
    case: Case


class Tally:
    """Collects pairs of reference and build, and sums them up. tie: see `Thresholds`."""

    def __init__(self, *, tie: float) -> None:
        self.tie = tie
        self._gaps: dict[str, list[Floats]] = defaultdict(list)
        self._scales: dict[str, float] = defaultdict(float)
        self._verdicts: list[Verdict] = []
        self.num_other_places = 0

    def add_encoded(self, shot: Shot, built: Tensors) -> None:
        """The encoders' outputs for one image."""
        wanted = shot.encoded
        same_query = self.same_query(places(wanted["attention"]), built)
        for name, tensor in wanted.items():
            if name != "energy_query" or same_query:
                self.add(name, tensor, built[name])

    def same_query(self, wanted: Sequence[int], built: Tensors) -> bool:
        """Whether the energy query can be compared; `wanted`: the reference's `places`. Where two
        places of (nearly) equal attention change their order, it is made of other features: that
        is counted, and the masks it leads to are compared. What is no number never passes."""
        same = places(built["attention"]) == wanted
        self.num_other_places += not same
        return same or not np.isfinite(built["energy_query"]).all()

    def add_decoded(self, choice: Choice, wanted: DecoderOutput, built: DecoderOutput) -> None:
        """The decoder's outputs to one prompt. choice: the reference's."""
        self.add("low_res_logits", wanted.logits, built.logits)
        self.add("iou", wanted.iou, built.iou)
        if wanted.category_logits is not None and self.same_category(choice, built):
            assert built.category_logits is not None
            self.add("category_logits", wanted.category_logits, built.category_logits)

    def same_category(self, choice: Choice, built: DecoderOutput) -> bool:
        """Whether category logits can be compared: they are read from the best mask's token, so a
        tie that flips asks the head about another one."""
        return int(built.iou.argmax()) == choice.token or not choice.lead <= self.tie

    def add(self, name: str, wanted: Floats, built: Floats) -> None:
        """One tensor, or the same probes of both."""
        assert wanted.shape == built.shape, (name, wanted.shape, built.shape)
        with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, which fails
            self._gaps[name].append(np.abs(wanted - built))
        self._scales[name] = max(self._scales[name], float(np.abs(wanted).max()))

    def add_mask(
        self,
        shot: Shot,
        about: SamplePrompt,
        wanted: Choice,
        output: DecoderOutput,
        *,
        core: float,
    ) -> None:
        """What a user gets for one prompt."""
        same = Choice.of(output, shot.frame, core=core, token=wanted.token)
        flipped = int(output.iou.argmax()) != wanted.token
        answer = Choice.of(output, shot.frame, core=core).mask if flipped else same.mask
        self.judge(shot, about, wanted, same, answer, flipped=flipped)

    def judge(
        self,
        shot: Shot,
        about: SamplePrompt,
        wanted: Choice,
        built: Choice,
        answer: Mask,
        *,
        flipped: bool,
    ) -> None:
        """Note down how both masks of one token differ."""
        distance = _distance(wanted.points, built.points)
        near = distance is None or distance <= 1
        tied, iou = wanted.lead <= self.tie, mask_iou(wanted.mask, built.mask)
        self._verdicts.append(
            Verdict(
                kind=about.kind,
                mask_iou=iou,
                answer_iou=mask_iou(wanted.mask, answer),
                flipped=flipped,
                tied=tied,
                same_points=wanted.branch == built.branch and near,
                distance=distance,
                case=Case(
                    picture=shot.sample.number,
                    kind=about.kind,
                    image=shot.sample.image,
                    prompt=about.prompt,
                    reference=wanted.mask,
                    built=built.mask,
                    reference_points=shot.frame.to_image(wanted.points),
                    built_points=shot.frame.to_image(built.points),
                    mask_iou=iou,
                    flipped=flipped,
                    tied=tied,
                ),
            )
        )

    def report(
        self, *, build: str, reference: str, ran_on: str, num_images: int, thresholds: Thresholds
    ) -> Report:
        """All of it as figures, with the worst cases."""
        verdicts = self._verdicts
        kinds = dict.fromkeys(one.kind for one in verdicts)
        clear = [one.flipped for one in verdicts if not one.tied]
        worst = sorted(verdicts, key=lambda one: (one.mask_iou, one.tied, not one.flipped))
        return Report(
            build=build,
            reference=reference,
            ran_on=ran_on,
            tensors={name: self._difference(name) for name in self._gaps},
            masks={
                kind: _agreement([one.mask_iou for one in verdicts if one.kind == kind])
                for kind in kinds
            },
            mask_iou=_agreement([one.mask_iou for one in verdicts]),
            answer_iou=_agreement([one.answer_iou for one in verdicts]),
            flips=float(np.mean([one.flipped for one in verdicts])),
            clear_flips=float(np.mean(clear)) if clear else 0.0,
            num_clear=len(clear),
            same_points=float(np.mean([one.same_points for one in verdicts])),
            points_distance=max((one.distance or 0.0 for one in verdicts), default=0.0),
            num_other_places=self.num_other_places,
            num_images=num_images,
            thresholds=thresholds,
            worst=tuple(one.case for one in worst[:NUM_PICTURES]),
        )

    def _difference(self, name: str) -> Difference:
        scale, gaps = self._scales[name] or 1.0, self._gaps[name]
        total = sum(float(gap.sum(dtype=np.float64)) for gap in gaps)
        return Difference(
            max=float(np.max([gap.max() for gap in gaps])) / scale,
            mean=total / sum(gap.size for gap in gaps) / scale,
        )


def places(attention: Floats) -> list[int]:
    """The cells of highest attention, in order."""
    order = np.argsort(-attention.ravel(), kind="stable")
    return [int(place) for place in order[:ENERGY_PLACES]]


def _agreement(ious: Sequence[float]) -> Agreement:
    return Agreement(min=min(ious), mean=float(np.mean(ious)), num_prompts=len(ious))


def _distance(wanted: Points, built: Points) -> float | None:
    """The farther of two pairs of points float32 [2, 2] in model pixels, in cells, in whichever
    order they lie closer: the decoder does not see the order. None where a mask was empty."""
    if len(wanted) == 0 or len(built) == 0:
        return None
    gaps = [np.hypot(*(wanted - other).T).max() for other in (built, built[::-1])]
    return float(min(gaps)) / MASK_STRIDE
