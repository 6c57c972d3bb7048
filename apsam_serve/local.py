"""A bundle in this process, as a Segmenter: no service, no store, no threads of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract import manifest
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import Prompt, check_prompts, to_decoder
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.engine.compute import Encoded, Question
from apsam_serve.engine.host_compute import HostCompute
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
        self._compute = HostCompute(runner)

    def encode(self, image: NDArray[np.uint8]) -> LocalImage:
        """Encode an RGB image uint8 [H, W, 3]. Raises InvalidImageError."""
        boxed, frame = letterbox(image, side=self._runner.model.side)
        (encoded,), _ = self._compute.encode([Pixels(image=boxed, energy=boxed)])
        return LocalImage(self._runner.model, self._compute, encoded, frame)

    def close(self) -> None:
        """Free the graphs."""
        self._runner.close()


class LocalImage:
    """Implements `contract.segmenter.EncodedImage`."""

    def __init__(
        self, model: ModelSpec, compute: HostCompute, encoded: Encoded, frame: LetterBox
    ) -> None:
        self._model = model
        self._compute = compute
        self._encoded: Encoded | None = encoded
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
            raise HandleGoneError("image was released; encode it again", reason="DELETED")
        check_prompts(prompts, height=self.height, width=self.width)
        question = Question(
            encoded=self._encoded,
            frame=self._frame,
            prompts=[to_decoder(prompt, self._frame) for prompt in prompts],
            refine=[None] * len(prompts),
            keep=[None] * len(prompts),
            strategy=strategy,
            apg=apg or ApgConfig(),
        )
        (answers,), timings = self._compute.answer([question])
        names = self._model.categories
        return [answer.segmentation(self._frame, timings, categories=names) for answer in answers]

    def release(self) -> None:
        """Forget the image."""
        self._encoded = None
