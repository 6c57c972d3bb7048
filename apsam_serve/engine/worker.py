"""Executes: the one thread that owns the runner."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.engine import compute
from apsam_serve.engine.batcher import Batch, Batcher, Kind
from apsam_serve.engine.compute import Encoded, Question
from apsam_serve.engine.replies import Timings, added
from apsam_serve.errors import DeadlineExceededError, NotServingError
from apsam_serve.prompting.base import Answer
from apsam_serve.runtime.base import Runner


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodeJob:
    """One letter-boxed frame uint8 [S, S, 3]. The future yields (Encoded, seconds by stage)."""

    frame: NDArray[np.uint8]
    deadline_s: float | None
    pushed_s: float = field(default_factory=time.monotonic)
    future: Future[tuple[Encoded, Timings]] = field(default_factory=Future)
    kind: Kind = Kind.ENCODE
    size: int = 1

    def cancelled(self) -> bool:
        return self.future.cancelled()


@dataclass(frozen=True, kw_only=True, eq=False)
class ClickJob:
    """Prompts about one image. The future yields (answers, seconds by stage)."""

    question: Question
    deadline_s: float | None
    pushed_s: float = field(default_factory=time.monotonic)
    future: Future[tuple[list[Answer], Timings]] = field(default_factory=Future)
    kind: Kind = Kind.CLICK

    @property
    def size(self) -> int:
        return len(self.question.prompts)

    def cancelled(self) -> bool:
        return self.future.cancelled()


AnyJob = EncodeJob | ClickJob


class Worker:
    """Opens the runner, runs batches until it is closed, closes the runner; all on its thread.

    A cancelled future is never started; one that has started runs to its end.
    """

    def __init__(self, runner: Runner, batcher: Batcher[AnyJob]) -> None:
        self._runner = runner
        self._batcher = batcher
        self._wake = threading.Condition()
        self._closing = False
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, name="apsam-device", daemon=True)

    def open(self) -> None:
        """Start the thread and wait until the runner is open; raises what the runner raises."""
        self._thread.start()
        self._opened.result()

    def push(self, job: AnyJob) -> None:
        """Queue a job; its future answers. Fails it at once when the worker closes."""
        with self._wake:
            if self._closing:
                job.future.set_exception(NotServingError("the engine is closed; use another one"))
                return
            self._batcher.push(job)
            self._wake.notify()

    def close(self) -> None:
        """Finish the batch that runs, fail what is queued, close the runner."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _main(self) -> None:
        try:
            self._runner.open()
        except BaseException as error:
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        try:
            while (batch := self._wait()) is not None:
                self._run(batch)
        finally:
            self._fail_queued()
            self._runner.close()

    def _fail_queued(self) -> None:
        """However the loop ended, nobody may wait for ever."""
        with self._wake:
            self._closing = True
            queued = self._batcher.drain()
        error = NotServingError("the engine closed before this work started; use another one")
        _fail(queued, error)

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
        _fail(
            batch.expired,
            DeadlineExceededError("the deadline passed while waiting; nothing was started"),
        )
        jobs = [job for job in batch.jobs if job.future.set_running_or_notify_cancel()]
        if not jobs:
            return
        started = time.monotonic()
        try:
            results = self._execute(jobs)
            assert len(results) == len(jobs), (len(results), len(jobs))
        except BaseException as error:  # whatever it is, the callers wait and the thread must live
            for job in jobs:
                job.future.set_exception(error)
            return
        finally:
            self._batcher.record(jobs[0].kind, time.monotonic() - started)
        for job, (value, timings) in zip(jobs, results, strict=True):
            future: Future[Any] = job.future
            future.set_result((value, added(timings, {"queue": started - job.pushed_s})))

    def _execute(self, jobs: Sequence[AnyJob]) -> list[tuple[Any, Timings]]:
        """(value, seconds by stage) for each job; all are of one kind."""
        started = time.perf_counter()
        frames = [job.frame for job in jobs if isinstance(job, EncodeJob)]
        if frames:
            encoded = compute.encode_frames(self._runner, frames)
            timings = {"encode": time.perf_counter() - started}
            return [(one, timings) for one in encoded]
        questions = [job.question for job in jobs if isinstance(job, ClickJob)]
        answers, timings = compute.answer(self._runner, questions)
        return [(one, timings) for one in answers]


def _fail(jobs: Sequence[AnyJob], error: Exception) -> None:
    for job in jobs:
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(error)
