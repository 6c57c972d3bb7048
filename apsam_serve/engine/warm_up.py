"""What a model does before its first caller: every kind of work once, on an empty frame."""

from __future__ import annotations

import numpy as np

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import Prompt, to_decoder
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.engine.calls import Call
from apsam_serve.engine.compute import Question
from apsam_serve.engine.pipeline import Pipeline
from apsam_serve.engine.versions import Version

_ROUNDS = 2
"""Graphs are recorded when work comes the second time."""


async def warm_up(version: Version, pipeline: Pipeline) -> None:
    """Encode an image and click on it with each strategy. It goes through the worker, between the
    calls of others, and leaves nothing behind."""
    side, call = version.model.side, Call(station="warm-up")
    empty = np.zeros((side, side, 3), np.uint8)
    frame = LetterBox.fit(height=side, width=side, side=side)
    prompt = to_decoder(Prompt.click(side / 2, side / 2), frame)
    strategies: tuple[StrategyName, ...] = ("direct", "apg")
    for _ in range(_ROUNDS):
        encoded, _ = await pipeline.encode_frame(version, Pixels(image=empty, energy=empty), call)
        try:
            for strategy in strategies:
                for num_prompts in version.compute.warm_prompts:
                    question = Question(
                        encoded=encoded,
                        frame=frame,
                        prompts=[prompt] * num_prompts,
                        refine=[None] * num_prompts,
                        keep=[None] * num_prompts,
                        strategy=strategy,
                        apg=ApgConfig(),
                    )
                    await pipeline.answer(version, question, call)
        finally:
            version.compute.forget(encoded)
