"""Looking in on a run: the score on held-out images, and pictures of what the model does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig
from apsam_train.config import TrainConfig
from apsam_train.data.dataset import ImageDataset
from apsam_train.evaluate.protocols import PROTOCOLS
from apsam_train.evaluate.score import Asking, score
from apsam_train.evaluate.sheet import Method, comparison
from apsam_train.evaluate.summary import summarise
from apsam_train.logbook import Logbook
from apsam_train.models import APSAM
from apsam_train.segmenter import TorchSegmenter

_SCORED = ("random1", "apg")
_SEED = 0
"""Of the prompts: the same ones at every look, so that the curve shows the model alone."""
_NUM_PICTURED = 6


class Validation:
    """Scores and draws evenly spread images of a held-out data set."""

    def __init__(self, source: ImageDataset, config: TrainConfig) -> None:
        self._scored = source.evenly(config.validation_images)
        self._pictured = source.evenly(_NUM_PICTURED)
        self._config = config

    def is_due(self, step: int) -> bool:
        """Whether `look` has anything to do after `step` steps."""
        return step % self._config.validate_every == 0 or step % self._config.pictures_every == 0

    def look(self, step: int, model: APSAM, logbook: Logbook) -> None:
        """Write down what is due after `step` steps."""
        was_training = model.training
        if step % self._config.validate_every == 0:
            logbook.write(step, "validation", self._scores(model))
        if step % self._config.pictures_every == 0:
            logbook.picture(step, "validation", self._picture(model))
        model.train(was_training)

    def _segmenter(self, model: APSAM) -> TorchSegmenter:
        return TorchSegmenter(model, apg=ApgConfig(core=self._config.apg.core))

    def _scores(self, model: APSAM) -> dict[str, float]:
        askings = [Asking(protocol=name, seed=_SEED) for name in _SCORED]
        scores = score(self._segmenter(model), self._scored, askings)
        return {f"miou_{a.protocol}": summarise(scores[a]).miou for a in askings}

    def _picture(self, model: APSAM) -> NDArray[np.uint8]:
        segmenter = self._segmenter(model)
        methods = {name: Method(segmenter=segmenter, protocol=PROTOCOLS[name]) for name in _SCORED}
        return comparison(self._pictured, methods, seed=_SEED, num_rows=_NUM_PICTURED)
