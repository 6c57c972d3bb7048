"""Decides what the device does next. Pure Python, no threads, no tensors.

Two classes of work: clicks, which a person waits for, and encodes. Clicks go first, so a click
waits for at most the one encode batch that already runs; after `max_click_streak` click batches in
a row a waiting encode batch gets its turn. Nothing waits for a batch to fill: a batch is what has
gathered while the device was busy.

Threads: `admit` and `leave` belong to the event loop, the queues to the worker and its lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from apsam_serve.errors import OverloadedError

_SMOOTHING = 0.2
_MIN_RETRY_S = 0.01


class Kind(StrEnum):
    """The class of a job."""

    CLICK = "click"
    ENCODE = "encode"


class Job(Protocol):
    """What the batcher sees of a job. `size` counts images or prompts; `deadline_s` is on the
    clock of `next_batch`."""

    @property
    def kind(self) -> Kind: ...

    @property
    def size(self) -> int: ...

    @property
    def deadline_s(self) -> float | None: ...

    def cancelled(self) -> bool: ...


J = TypeVar("J", bound=Job)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """max_pending: requests admitted per class; max_batch: images or prompts per device call."""

    max_pending_clicks: int = 64
    max_pending_encodes: int = 32
    max_batch_prompts: int = 64
    max_batch_images: int = 4
    max_click_streak: int = 8

    def max_pending(self, kind: Kind) -> int:
        return self.max_pending_clicks if kind is Kind.CLICK else self.max_pending_encodes

    def max_batch(self, kind: Kind) -> int:
        return self.max_batch_prompts if kind is Kind.CLICK else self.max_batch_images


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch(Generic[J]):
    """jobs: of one kind, to run together; expired: jobs to fail, their deadline has passed."""

    jobs: Sequence[J]
    expired: Sequence[J]


class Batcher(Generic[J]):
    """One bounded queue per class. A request is admitted before its image is decoded, and leaves
    when it is answered, so the bound covers all that it costs."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queues: dict[Kind, deque[J]] = {kind: deque() for kind in Kind}
        self._admitted = dict.fromkeys(Kind, 0)
        self._batch_s = dict.fromkeys(Kind, 0.0)
        self._click_streak = 0

    def admit(self, kind: Kind) -> None:
        """Count a request in. Raises OverloadedError when its class is full."""
        bound = self._limits.max_pending(kind)
        if self._admitted[kind] >= bound:
            retry_s = self.estimate_s()
            raise OverloadedError(
                f"{bound} {kind} requests are pending, the most this server takes; "
                f"retry after {retry_s:.3f} s",
                retry_after_s=retry_s,
            )
        self._admitted[kind] += 1

    def leave(self, kind: Kind) -> None:
        """Count a request out, however it ended."""
        assert self._admitted[kind] > 0, kind
        self._admitted[kind] -= 1

    def depth(self, kind: Kind) -> int:
        """Requests of that class that were admitted and have not left."""
        return self._admitted[kind]

    def push(self, job: J) -> None:
        """Queue a job for the device."""
        self._queues[job.kind].append(job)

    def next_batch(self, now_s: float) -> Batch[J] | None:
        """The next work, or None when nothing is queued. Cancelled jobs vanish."""
        expired: list[J] = []
        for kind, queue in self._queues.items():
            alive: deque[J] = deque()
            for job in queue:
                if job.deadline_s is not None and job.deadline_s <= now_s:
                    expired.append(job)
                elif not job.cancelled():
                    alive.append(job)
            self._queues[kind] = alive
        chosen = self._choose()
        jobs = [] if chosen is None else self._take(chosen)
        return Batch(jobs=jobs, expired=expired) if jobs or expired else None

    def record(self, kind: Kind, seconds: float) -> None:
        """Learn what a batch of that class takes, for honest estimates."""
        known = self._batch_s[kind]
        self._batch_s[kind] = known + _SMOOTHING * (seconds - known) if known else seconds

    def estimate_s(self) -> float:
        """When what is admitted now will be done, in seconds from now."""
        total = 0.0
        for kind, admitted in self._admitted.items():
            batches = -(-admitted // self._limits.max_batch(kind))
            total += batches * self._batch_s[kind]
        return max(total, _MIN_RETRY_S)

    def drain(self) -> list[J]:
        """Everything queued, taken out."""
        jobs = [job for queue in self._queues.values() for job in queue]
        for queue in self._queues.values():
            queue.clear()
        return jobs

    def _choose(self) -> Kind | None:
        clicks, encodes = self._queues[Kind.CLICK], self._queues[Kind.ENCODE]
        if clicks and not (encodes and self._click_streak >= self._limits.max_click_streak):
            self._click_streak += 1
            return Kind.CLICK
        self._click_streak = 0
        return Kind.ENCODE if encodes else None

    def _take(self, kind: Kind) -> list[J]:
        """Jobs in order of arrival up to the batch size, and at least one."""
        queue, room = self._queues[kind], self._limits.max_batch(kind)
        jobs: list[J] = []
        while queue and (not jobs or queue[0].size <= room):
            jobs.append(queue.popleft())
            room -= jobs[-1].size
        return jobs
