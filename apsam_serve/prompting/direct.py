"""The prompt as it is: one decode."""

from __future__ import annotations

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import DecoderPrompt, PointLabel
from apsam_serve.prompting.base import Answer, DecoderOutput, Running


def strategy(prompt: DecoderPrompt, frame: LetterBox, config: ApgConfig) -> Running:
    """Decode the prompt once and take its best mask."""
    output = yield prompt
    return answer(prompt, output, branch="direct")


def answer(prompt: DecoderPrompt, output: DecoderOutput, *, branch: str) -> Answer:
    """The answer whose last decode was `prompt`."""
    logits, score = output.best()
    real = prompt.labels != PointLabel.PADDING
    return Answer(
        logits=logits,
        score=score,
        points=prompt.coords[real],
        labels=prompt.labels[real],
        branch=branch,
        category_logits=output.category_logits,
    )
