"""The reference of the gate: run once on the fixed samples, then every build is held to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from apsam_export.gate.samples import Sample, sample
from apsam_export.gate.sides import Floats, RunnerSide, Side, Tensors, decode_all
from apsam_serve.contract.apg import ApgConfig, adaptive_points
from apsam_serve.contract.masks import Mask, mask_from_logits
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import DecoderPrompt, to_decoder
from apsam_serve.prompting.base import DecoderOutput
from apsam_serve.runtime.base import Runner

if TYPE_CHECKING:
    from apsam_train.models import APSAM


def num_pictures(side: int) -> int:
    """Six; three, of one shape each, for models whose encoder takes seconds a picture on a CPU."""
    return 6 if side < 512 else 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """One sample and what the reference made of it. pixels: its frame uint8 [S, S, 3]; encoded:
    outputs of both encoders; asked: the sample's prompts, refined ones with the reference's own
    logits, and outputs to them."""

    sample: Sample
    frame: LetterBox
    pixels: NDArray[np.uint8]
    encoded: Tensors
    asked: tuple[DecoderPrompt, ...]
    outputs: tuple[DecoderOutput, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """name: what it is, for messages."""

    name: str
    shots: tuple[Shot, ...]

    @classmethod
    def of(cls, model: APSAM, *, num_images: int | None = None) -> Reference:
        """The checkpoint in PyTorch and FP32."""
        from apsam_export.gate.model_side import ModelSide  # a bundle is verified without PyTorch

        return cls._of(ModelSide(model), "the checkpoint", num_images)

    @classmethod
    def of_runner(cls, runner: Runner, *, num_images: int | None = None) -> Reference:
        """A bundle's own FP32 build, where the checkpoint is not at hand."""
        return cls._of(RunnerSide(runner), "the FP32 build", num_images)

    @classmethod
    def _of(cls, side: Side, name: str, num_images: int | None) -> Reference:
        count = num_images or num_pictures(side.model.side)
        samples = [sample(number, side=side.model.side) for number in range(count)]
        framed = [letterbox(one.image, side=side.model.side) for one in samples]
        encoded = [side.encode(pixels) for pixels, _ in framed]
        asked = [
            [to_decoder(prompt.prompt, frame) for prompt in one.prompts]
            for one, (_, frame) in zip(samples, framed, strict=True)
        ]
        first = decode_all(side, encoded, asked)
        asked = [_refined(*shot) for shot in zip(samples, asked, first, strict=True)]
        outputs = decode_all(side, encoded, asked)
        shots = tuple(
            Shot(sample=s, frame=f, pixels=p, encoded=e, asked=tuple(a), outputs=tuple(o))
            for s, (p, f), e, a, o in zip(samples, framed, encoded, asked, outputs, strict=True)
        )
        return cls(name=name, shots=shots)


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """One mask of a decode and what comes of it. token: which of the M masks; lead: how much more
    IoU is predicted for the best mask than for the next one; mask: bool [H, W] of that token;
    points, branch: the adaptive points on it, float32 [N, 2] in model pixels."""

    token: int
    lead: float
    mask: Mask
    points: Floats
    branch: str

    @classmethod
    def of(
        cls, output: DecoderOutput, frame: LetterBox, *, core: float, token: int | None = None
    ) -> Choice:
        """token: None for the best one (paper 4.1); core: see `ApgConfig`."""
        chosen = int(output.iou.argmax()) if token is None else token
        logits = output.logits[chosen]
        config = ApgConfig(core=core)
        found = adaptive_points(logits, valid_cells=frame.valid_cells, config=config)
        best, second = np.sort(output.iou)[:-3:-1]
        return cls(
            token=chosen,
            lead=float(best - second),
            mask=mask_from_logits(logits, frame),
            points=found.points,
            branch=found.branch,
        )


def _refined(
    one: Sample, asked: Sequence[DecoderPrompt], outputs: Sequence[DecoderOutput]
) -> list[DecoderPrompt]:
    """A refined prompt sends back the logits of its own first answer."""
    return [
        replace(prompt, mask_logits=output.best()[0]) if about.refined else prompt
        for about, prompt, output in zip(one.prompts, asked, outputs, strict=True)
    ]
