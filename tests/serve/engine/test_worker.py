"""The worker's thread: nobody waits for ever, however it ends."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.engine.batcher import Batcher, Limits
from apsam_serve.engine.worker import AnyJob, EncodeJob, Worker
from apsam_serve.errors import NotServingError
from apsam_serve.runtime.base import EncodedBatch
from apsam_serve.runtime.fake import FakeRunner


class FaultyRunner:
    """Fails once in a way that no library should, then answers too little, then well."""

    def __init__(self, model: ModelSpec) -> None:
        self.model = model
        self.inner = FakeRunner(model)
        self.build = self.inner.build
        self.num_calls = 0

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to free."""

    def encode(self, images: NDArray[np.uint8]) -> EncodedBatch:
        self.num_calls += 1
        if self.num_calls == 1:
            raise SystemExit("a library called exit")
        return self.inner.encode(images[:-1] if self.num_calls == 2 else images)

    def decode(self, **inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        raise NotImplementedError


@pytest.fixture
def worker(model: ModelSpec) -> Worker:
    batcher: Batcher[AnyJob] = Batcher(Limits())
    return Worker(FaultyRunner(model), batcher)  # type: ignore[arg-type]


def job(model: ModelSpec) -> EncodeJob:
    return EncodeJob(frame=np.zeros((model.side, model.side, 3), np.uint8), deadline_s=None)


def test_the_thread_survives_every_fault_of_a_runner(worker: Worker, model: ModelSpec) -> None:
    worker.open()
    for expected in (SystemExit, AssertionError):
        broken = job(model)
        worker.push(broken)
        with pytest.raises(expected):
            broken.future.result(5)
    fine = job(model)
    worker.push(fine)
    encoded, timings = fine.future.result(5)
    assert encoded.embedding.shape[0] == model.embed_dim
    assert set(timings) == {"encode", "queue"}
    worker.close()


def test_a_job_for_a_closed_worker_fails_at_once(worker: Worker, model: ModelSpec) -> None:
    worker.open()
    worker.close()
    late = job(model)
    worker.push(late)
    with pytest.raises(NotServingError, match="closed; use another one"):
        late.future.result(1)


def test_a_worker_that_was_never_opened_can_be_closed(worker: Worker) -> None:
    worker.close()
