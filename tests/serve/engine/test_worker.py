"""The worker's thread: nobody waits for ever, however it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from apsam_serve.contract.inputs import Pixels
from apsam_serve.engine.batcher import Batcher, Kind, Limits
from apsam_serve.engine.calls import Call
from apsam_serve.engine.compute import Encoded, Question
from apsam_serve.engine.replies import Timings
from apsam_serve.engine.worker import AnyJob, EncodeJob, Worker
from apsam_serve.errors import DeviceFaultError, ModelFaultError, NotServingError
from apsam_serve.prompting.base import Answer

Encode = Callable[[Sequence[Pixels]], list[Encoded]]


@dataclass(frozen=True)
class Attention:
    attention: np.ndarray = field(default_factory=lambda: np.zeros((2, 2), np.float32))


@dataclass
class ScriptedCompute:
    """Each encode is the next of the script, and then works."""

    script: list[Encode]
    held_bytes: int = 1
    warm_prompts: Sequence[int] = (1,)

    def encode(self, pixels: Sequence[Pixels]) -> tuple[list[Encoded], Timings]:
        works = self.script.pop(0) if self.script else _works
        return works(pixels), {}

    def answer(self, questions: Sequence[Question]) -> tuple[list[list[Answer]], Timings]:
        raise NotImplementedError

    def forget(self, encoded: Encoded) -> None:
        """Nothing to free."""

    def close(self) -> None:
        """Nothing to free."""


def _works(pixels: Sequence[Pixels]) -> list[Encoded]:
    return [Attention() for _ in pixels]


def _exits(pixels: Sequence[Pixels]) -> list[Encoded]:
    raise SystemExit("a library called exit")


def _answers_too_little(pixels: Sequence[Pixels]) -> list[Encoded]:
    return []


def _poisoned(pixels: Sequence[Pixels]) -> list[Encoded]:
    if any(one.image.min() == 66 for one in pixels):
        raise ModelFaultError("no numbers")
    return [Attention() for _ in pixels]


Observed = list[tuple[Kind, int, int]]


@pytest.fixture
def observed() -> Observed:
    return []


@pytest.fixture
def worker(observed: Observed) -> Iterator[Worker]:
    def observe(kind: Kind, queued_s: Sequence[float], faults: Sequence[BaseException]) -> None:
        observed.append((kind, len(queued_s), len(faults)))

    batcher: Batcher[AnyJob] = Batcher(Limits(max_batch_images=4))
    worker = Worker(batcher, observe)
    yield worker
    worker.close()


def job(compute: ScriptedCompute, value: int = 0) -> EncodeJob:
    image = np.full((4, 4, 3), value, np.uint8)
    pixels = Pixels(image=image, energy=image)
    return EncodeJob(call=Call(), compute=compute, group="model", pixels=pixels)


@pytest.mark.parametrize(
    ("fails", "error"), [(_exits, SystemExit), (_answers_too_little, AssertionError)]
)
def test_whatever_a_library_does_the_caller_hears_of_it_and_the_next_one_works(
    worker: Worker, fails: Encode, error: type[BaseException]
) -> None:
    worker.open()
    compute = ScriptedCompute([fails])
    first, second = job(compute), job(compute)
    worker.push(first)
    with pytest.raises(error):
        first.future.result(5)
    worker.push(second)
    assert second.future.result(5)


def test_an_observer_that_fails_costs_no_caller_the_answer() -> None:
    def observe(kind: Kind, queued_s: Sequence[float], faults: Sequence[BaseException]) -> None:
        raise ValueError("no such label")

    worker = Worker(Batcher(Limits()), observe)
    worker.open()
    try:
        for _ in range(2):
            asked = job(ScriptedCompute([]))
            worker.push(asked)
            assert asked.future.result(5)
    finally:
        worker.close()


def test_one_images_fault_fails_no_other_of_its_batch(worker: Worker, observed: Observed) -> None:
    compute = ScriptedCompute([_poisoned] * 4)
    jobs = [job(compute), job(compute, 66), job(compute)]
    for one in jobs:
        worker.push(one)
    worker.open()
    with pytest.raises(ModelFaultError):
        jobs[1].future.result(5)
    assert jobs[0].future.result(5)
    assert jobs[2].future.result(5)
    worker.close()
    assert observed == [(Kind.ENCODE, 3, 1)]


def test_a_job_whose_caller_has_gone_is_cancelled_and_never_runs(worker: Worker) -> None:
    compute = ScriptedCompute([_exits])
    gone, stays = job(compute), job(ScriptedCompute([]))
    gone.call.gone = True
    worker.push(gone)
    worker.push(stays)
    worker.open()
    assert stays.future.result(5)
    assert gone.future.cancelled()
    assert compute.script == [_exits]


def test_a_worker_that_closes_fails_what_waits_and_what_comes(worker: Worker) -> None:
    worker.open()
    worker.close()
    late = job(ScriptedCompute([]))
    worker.push(late)
    with pytest.raises(NotServingError, match="the engine is closed"):
        late.future.result(5)


def test_a_device_that_hangs_does_not_keep_the_server_and_callers_hear_of_it(
    worker: Worker,
) -> None:
    hangs, ends = threading.Event(), threading.Event()

    def hang(pixels: Sequence[Pixels]) -> list[Encoded]:
        hangs.set()
        ends.wait(10)
        return [Attention()]

    compute = ScriptedCompute([hang])
    busy, queued = job(compute), job(ScriptedCompute([]))
    worker.open()
    worker.push(busy)
    hangs.wait(5)
    worker.push(queued)
    assert not worker.close(patience_s=0.05)
    with pytest.raises(DeviceFaultError, match="did not answer before the server had to stop"):
        busy.future.result(0)
    with pytest.raises(NotServingError):
        queued.future.result(0)
    ends.set()
    assert worker.close()
