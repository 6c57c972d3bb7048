"""`segment_anything.SamPredictor` in eager PyTorch, with scikit-learn between two predictions."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import Prompt
from bench.peers.base import Answer, Source, clicked
from bench.peers.sam_shape import SamPredictor, ShapedSam
from bench.peers.two_points import two_points


def open_peer(name: str, source: Source) -> PredictorPeer:
    """As a user runs it."""
    torch.set_num_threads(source.threads)
    return PredictorPeer(name, ShapedSam(source.checkpoint))


class PredictorPeer:
    """Implements `base.Peer` over any Sam."""

    def __init__(self, name: str, shaped: ShapedSam) -> None:
        self.name = name
        self._shaped = shaped
        self._predictor = SamPredictor(shaped.sam)
        self._frame: LetterBox | None = None

    def encode(self, image: NDArray[np.uint8]) -> None:
        """The same pixels as ours see: resized by PIL and padded with zeros, as SAM does it, they
        are others, and a norm over almost nothing makes much of that in the padding."""
        boxed, frame = letterbox(image, side=self._shaped.side)
        planes = torch.from_numpy(boxed).permute(2, 0, 1).contiguous()[None]
        pixels = planes.to(self._predictor.device)
        self._predictor.set_torch_image(pixels, image.shape[:2])
        self._predictor.input_size = (frame.model_height, frame.model_width)
        self._shaped.look(boxed)
        if pixels.is_cuda:
            torch.cuda.synchronize()
        self._frame = frame

    def click(self, prompt: Prompt) -> Answer:
        assert self._frame is not None, "encode an image first"
        point = clicked(prompt)
        started = time.perf_counter()
        mask, logits = self._best(point)
        decoded = time.perf_counter()
        found = two_points(logits, valid_cells=self._frame.valid_cells, config=self._shaped.apg)
        placed = time.perf_counter()
        stages = {"decode_1": decoded - started, "points": placed - decoded}
        if len(found) == 0:
            return Answer(mask=mask, points=point, stages=stages)
        points = self._frame.to_image(found)
        mask, _ = self._best(points)
        stages["decode_2"] = time.perf_counter() - placed
        return Answer(mask=mask, points=points, stages=stages)

    def close(self) -> None:
        self._predictor.reset_image()

    def _best(self, points: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The mask [H, W] with the highest predicted IoU, and its logits [L, L]."""
        masks, iou, logits = self._predictor.predict(points, np.ones(len(points)))
        best = int(iou.argmax())
        return masks[best], logits[best]
