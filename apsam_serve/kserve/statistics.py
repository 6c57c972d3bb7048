"""How often a model ran and where the time went, as Triton counts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from apsam_serve.kserve import open_inference_pb2 as pb
from apsam_serve.kserve.models import VERSION

_STAGES = {
    "queue": ("queue",),
    "compute_input": ("image", "transfer"),
    "compute_infer": ("encode", "energy", "decode_1", "points", "decode_2"),
    "compute_output": ("mask", "serialise"),
}
"""What each of Triton's durations is made of, in the engine's stages."""


class Statistics:
    """Of one model. Used from the event loop alone."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._num: Counter[str] = Counter()
        self._ns: Counter[str] = Counter()
        self._last_ms = 0

    def answered(self, timings_s: Mapping[str, float], *, seconds: float) -> None:
        """Count an answer. timings_s: the engine's; seconds: from arrival to answer."""
        self._last_ms = time.time_ns() // 1_000_000
        self._add("success", seconds)
        for duration, stages in _STAGES.items():
            self._add(duration, sum(timings_s.get(stage, 0.0) for stage in stages))

    def failed(self, *, seconds: float) -> None:
        """Count a call that was not answered."""
        self._add("fail", seconds)

    def message(self) -> pb.ModelStatistics:
        """What was counted so far."""
        num_answers = self._num["success"]
        durations = {name: self._duration(name) for name in ("success", "fail", *_STAGES)}
        batch = {name: self._duration(name) for name in _STAGES if name != "queue"}
        return pb.ModelStatistics(
            name=self._name,
            version=VERSION,
            last_inference=self._last_ms,
            inference_count=num_answers,
            execution_count=num_answers,
            inference_stats=pb.InferStatistics(**durations),
            batch_stats=[pb.InferBatchStatistics(batch_size=1, **batch)] if num_answers else [],
        )

    def _add(self, name: str, seconds: float) -> None:
        self._num[name] += 1
        self._ns[name] += round(seconds * 1e9)

    def _duration(self, name: str) -> pb.StatisticDuration:
        return pb.StatisticDuration(count=self._num[name], ns=self._ns[name])
