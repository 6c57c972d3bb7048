"""Ours behind the face of a peer: through gRPC, and in this process."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from apsam_serve import local
from apsam_serve.client import Client
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import EncodedImage, Segmenter
from apsam_serve.runtime.base import RunnerOptions
from bench.load_rows import with_network
from bench.peers.base import Answer, Source, clicked


def open_peer(name: str, source: Source) -> SegmenterPeer:
    """Raises ValueError for `grpc` without an address and `in_process` without a bundle."""
    if name == "grpc":
        if source.address is None:
            raise ValueError("peer 'grpc' has no address; give HOST:PORT of an apsam-serve")
        return SegmenterPeer(name, Client(source.address))
    if source.bundle is None:
        raise ValueError("peer 'in_process' has no bundle; give one that apsam-export wrote")
    options = RunnerOptions(threads=source.threads)
    return SegmenterPeer(name, local.open_bundle(source.bundle, options=options))


class SegmenterPeer:
    """Implements `base.Peer` over any Segmenter, and closes it. What the Segmenter's own stages
    leave of the caller's time is the stage `network`, in process that of the calls."""

    def __init__(self, name: str, segmenter: Segmenter) -> None:
        self.name = name
        self._segmenter = segmenter
        self._image: EncodedImage | None = None

    def encode(self, image: NDArray[np.uint8]) -> None:
        if self._image is not None:
            self._image.release()
        self._image = self._segmenter.encode(image)

    def click(self, prompt: Prompt) -> Answer:
        assert self._image is not None, "encode an image first"
        clicked(prompt)
        started = time.perf_counter()
        (answer,) = self._image.segment([prompt])
        passed = time.perf_counter() - started
        points = np.array([(point.x, point.y) for point in answer.points], np.float32)
        stages = with_network(answer.timings_s, passed)
        return Answer(mask=answer.mask, points=points, stages=stages)

    def close(self) -> None:
        if self._image is not None:
            self._image.release()
            self._image = None
        self._segmenter.close()
