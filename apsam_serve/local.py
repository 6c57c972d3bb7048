"""A bundle in this process, as a Segmenter: no service, no store, no threads of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract import manifest
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import Prompt, check_prompts, to_decoder
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.engine import compute
from apsam_serve.errors import HandleGoneError
from apsam_serve.runtime.base import Runner, RunnerOptions, load


def open_bundle(
    path: str | Path, *, backend: str = "onnxruntime", options: RunnerOptions | None = None
) -> LocalSegmenter:
    """Verify and load a bundle. Raises BundleError or BackendUnavailableError."""
    bundle = manifest.open_bundle(Path(path))
    runner = load(backend)(bundle, options or RunnerOptions())
    runner.open()
    return LocalSegmenter(runner)


class LocalSegmenter:
    """Implements `contract.segmenter.Segmenter` over an open runner; for one thread."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def encode(self, image: NDArray[np.uint8]) -> LocalImage:
        """Encode an RGB image uint8 [H, W, 3]. Raises InvalidImageError."""
        pixels, frame = letterbox(image, side=self._runner.model.side)
        (encoded,) = compute.encode_frames(self._runner, [pixels])
        return LocalImage(self._runner, encoded, frame)

    def close(self) -> None:
        """Free the graphs."""
        self._runner.close()


class LocalImage:
    """Implements `contract.segmenter.EncodedImage`."""

    def __init__(self, runner: Runner, encoded: compute.Encoded, frame: LetterBox) -> None:
        self._runner = runner
        self._encoded: compute.Encoded | None = encoded
        self._frame = frame

    @property
    def height(self) -> int:
        """Height in image pixels."""
        return self._frame.height

    @property
    def width(self) -> int:
        """Width in image pixels."""
        return self._frame.width

    def segment(
        self,
        prompts: Sequence[Prompt],
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
    ) -> list[Segmentation]:
        """Answer each prompt, in order. Raises InvalidPromptError, or HandleGoneError after
        `release`."""
        if self._encoded is None:
            raise HandleGoneError("image was released; encode it again", reason="RELEASED")
        check_prompts(prompts, height=self.height, width=self.width)
        question = compute.Question(
            encoded=self._encoded,
            frame=self._frame,
            prompts=[to_decoder(prompt, self._frame) for prompt in prompts],
            strategy=strategy,
            apg=apg or ApgConfig(),
        )
        (answers,), timings = compute.answer(self._runner, [question])
        names = self._runner.model.categories
        return [answer.segmentation(self._frame, timings, categories=names) for answer in answers]

    def release(self) -> None:
        """Forget the image."""
        self._encoded = None
