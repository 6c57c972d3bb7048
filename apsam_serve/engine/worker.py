"""Executes: the one thread that uses the device."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

from apsam_serve.contract.inputs import Pixels
from apsam_serve.engine.batcher import Batch, Batcher, Kind
from apsam_serve.engine.calls import Call
from apsam_serve.engine.compute import Compute, Encoded, Question
from apsam_serve.engine.replies import Timings
from apsam_serve.errors import (
    DeadlineExceededError,
    DeviceFaultError,
    ModelFaultError,
    NotServingError,
    OutOfMemoryError,
)
from apsam_serve.prompting.base import Answer

Observe = Callable[[Kind, Sequence[float], Sequence[BaseException]], None]
"""observe(kind, seconds that each job of a batch was queued, what failed), on its own thread."""
Result = tuple[Any, Timings] | BaseException
_log = logging.getLogger("apsam_serve.engine")


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """Work for one call with one model; group: the model's digest."""

    call: Call
    compute: Compute
    group: str
    pushed_s: float = field(default_factory=time.monotonic)

    @property
    def station(self) -> str:
        return self.call.station

    @property
    def deadline_s(self) -> float | None:
        return self.call.deadline_s

    def gone(self) -> bool:
        return self.call.gone


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodeJob(Job):
    """One image, letter-boxed: [S, S, 3]. The future yields (Encoded, seconds by stage)."""

    pixels: Pixels
    future: Future[tuple[Encoded, Timings]] = field(default_factory=Future)
    kind: Kind = Kind.ENCODE
    size: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ClickJob(Job):
    """Prompts about one image. The future yields (answers, seconds by stage)."""

    question: Question
    future: Future[tuple[list[Answer], Timings]] = field(default_factory=Future)
    kind: Kind = Kind.CLICK

    @property
    def size(self) -> int:
        return len(self.question.prompts)


AnyJob = EncodeJob | ClickJob


class Worker:
    """Runs batches until it is closed. A job that has started runs to its end."""

    def __init__(self, batcher: Batcher[AnyJob], observe: Observe) -> None:
        self._batcher = batcher
        self._observe = observe
        self._wake = threading.Condition()
        self._closing = False
        self._busy: Sequence[AnyJob] = ()
        self._thread = threading.Thread(target=self._main, name="apsam-device", daemon=True)

    @property
    def num_calls(self) -> int:
        """Admitted calls of both classes, see `Batcher.admit`."""
        return sum(map(self._batcher.depth, Kind))

    def open(self) -> None:
        """Start the thread."""
        self._thread.start()

    def push(self, job: AnyJob) -> None:
        """Queue a job; its future answers. Fails it at once when the worker closes."""
        with self._wake:
            if self._closing:
                job.future.set_exception(NotServingError("the engine is closed; use another one"))
                return
            self._batcher.push(job)
            self._wake.notify()

    def close(self, patience_s: float | None = None) -> bool:
        """Finish the batch that runs, fail what is queued. False where the batch did not end in
        time; its callers then hear of that now."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(patience_s)
        if not self._thread.is_alive():
            return True
        self._fail_queued()
        for job in self._busy:
            stuck = DeviceFaultError("the device did not answer before the server had to stop")
            _settle(job.future, stuck)
        return False

    def _main(self) -> None:
        try:
            while (batch := self._wait()) is not None:
                self._run(batch)
        finally:  # however the loop ended, nobody may wait for ever
            self._fail_queued()

    def _fail_queued(self) -> None:
        with self._wake:
            self._closing = True
            queued = self._batcher.drain()
        closed = "the engine closed before this work started; use another one"
        _fail(queued, NotServingError(closed))

    def _wait(self) -> Batch[AnyJob] | None:
        """The next batch, or None once the worker closes."""
        with self._wake:
            while not self._closing:
                batch = self._batcher.next_batch(time.monotonic())
                if batch is not None:
                    return batch
                self._wake.wait()
        return None

    def _run(self, batch: Batch[AnyJob]) -> None:
        late = DeadlineExceededError("the deadline passed while waiting; nothing was started")
        _fail(batch.expired, late)
        for job in batch.gone:
            job.future.cancel()
        jobs = [job for job in batch.jobs if job.future.set_running_or_notify_cancel()]
        if not jobs:
            return
        kind, started = jobs[0].kind, time.monotonic()
        self._batcher.start(kind, started, num_jobs=len(jobs))
        self._busy = jobs
        results = _attempt(jobs)
        self._busy = ()
        self._batcher.record(kind, seconds=time.monotonic() - started, num_jobs=len(jobs))
        faults = [result for result in results if isinstance(result, BaseException)]
        if faults:
            _log.error("%d of %d %s jobs failed", len(faults), len(jobs), kind, exc_info=faults[0])
        queued_s = [started - job.pushed_s for job in jobs]
        try:
            self._observe(kind, queued_s, faults)
        except Exception:  # the callers wait for their answers, not for who counts them
            _log.exception("a batch could not be observed")
        for job, result, waited_s in zip(jobs, results, queued_s, strict=True):
            if isinstance(result, BaseException):
                _settle(job.future, result)
            else:
                value, timings = result
                _settle(job.future, (value, {**timings, "queue": waited_s}))


def _settle(future: Future[Any], result: Result) -> None:
    """Tell the caller, unless it was told otherwise when the worker had to stop."""
    try:
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
    except InvalidStateError:
        pass


def _attempt(jobs: Sequence[AnyJob]) -> list[Result]:
    """What became of each job; all are of one kind and model. Where a batch fails for what may be
    the fault of one job, each is tried alone: no caller fails for another's image."""
    try:
        results = _execute(jobs)
        assert len(results) == len(jobs), (len(results), len(jobs))
        return results
    except (ModelFaultError, OutOfMemoryError) as error:
        if len(jobs) > 1:
            return [_attempt([job])[0] for job in jobs]
        return [error]
    except BaseException as error:  # whatever it is, the callers wait and the thread must live
        return [error] * len(jobs)


def _execute(jobs: Sequence[AnyJob]) -> list[Result]:
    compute = jobs[0].compute
    images = [job.pixels for job in jobs if isinstance(job, EncodeJob)]
    if images:
        encoded, timings = compute.encode(images)
        return [(one, timings) for one in encoded]
    questions = [job.question for job in jobs if isinstance(job, ClickJob)]
    answers, timings = compute.answer(questions)
    return [(one, timings) for one in answers]


def _fail(jobs: Sequence[AnyJob], error: Exception) -> None:
    for job in jobs:
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(error)
