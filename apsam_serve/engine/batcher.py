"""Decides what the device does next. Pure Python, no threads, no tensors.

Two classes of work: clicks, which a person waits for, and encodes. Clicks go first, so a click
waits for at most the one encode batch that already runs; after `max_click_streak` click batches in
a row a waiting encode batch gets its turn. Within a class the stations take turns. Nothing waits
for a batch to fill: a batch is what has gathered while the device was busy.

A call that cannot be done by its deadline is refused when it comes, not when its time is up.

Threads: `admit` and `leave` belong to the event loop, the queues to the worker and its lock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from apsam_serve.errors import DeadlineExceededError, OverloadedError

_SMOOTHING = 0.2
_TRUST = 10.0
"""Times the duration itself for which a remembered duration refuses calls: only another job can
correct it, and a wrong one would keep every other job out for ever."""
_MIN_RETRY_S = 0.01
_RESERVED_SHARE = 8
"""One place in eight of a class is for stations that have few calls pending."""


class Kind(StrEnum):
    """The class of a job."""

    CLICK = "click"
    ENCODE = "encode"


class Job(Protocol):
    """What the batcher sees of a job. `size` counts images or prompts; only jobs of one `group`, a
    model, share a batch; `station` takes turns with others; `deadline_s` is on the clock of
    `next_batch`."""

    @property
    def kind(self) -> Kind: ...

    @property
    def size(self) -> int: ...

    @property
    def group(self) -> str: ...

    @property
    def station(self) -> str: ...

    @property
    def deadline_s(self) -> float | None: ...

    def gone(self) -> bool:
        """Whether nobody waits for it any more."""
        ...


J = TypeVar("J", bound=Job)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """max_pending: requests admitted per class; max_batch: images or prompts per device call. Few,
    because everybody waits for the batch that runs, and a CPU does two in the time of two."""

    max_pending_clicks: int = 64
    max_pending_encodes: int = 32
    max_batch_prompts: int = 8
    max_batch_images: int = 1
    max_click_streak: int = 8

    def max_pending(self, kind: Kind) -> int:
        return self.max_pending_clicks if kind is Kind.CLICK else self.max_pending_encodes

    def max_batch(self, kind: Kind) -> int:
        return self.max_batch_prompts if kind is Kind.CLICK else self.max_batch_images


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch(Generic[J]):
    """jobs: of one kind and group, to run together; expired: jobs to fail, their deadline has
    passed; gone: jobs that nobody waits for, to be cancelled."""

    jobs: Sequence[J]
    expired: Sequence[J]
    gone: Sequence[J]


class Batcher(Generic[J]):
    """One bounded queue per class. A request is admitted before its image is decoded, and leaves
    when it is answered, so the bound covers all that it costs.

    refused: (class, reason) -> requests that were not admitted.
    """

    def __init__(self, limits: Limits) -> None:
        self.refused: Counter[tuple[str, str]] = Counter()
        self._limits = limits
        self._queues: dict[Kind, _Turns[J]] = {kind: _Turns() for kind in Kind}
        self._admitted = dict.fromkeys(Kind, 0)
        self._pending: Counter[tuple[Kind, str]] = Counter()  # by class and station
        self._job_s = dict.fromkeys(Kind, 0.0)
        self._batch_s = dict.fromkeys(Kind, 0.0)
        self._trusted_s = dict.fromkeys(Kind, 0.0)  # until when `_batch_s` refuses calls
        self._running: tuple[Kind, float, int] | None = None  # class, since when, number of jobs
        self._click_streak = 0

    def admit(
        self, kind: Kind, *, now_s: float, station: str = "", deadline_s: float | None = None
    ) -> None:
        """Count a request in.

        Raises OverloadedError when its class is full, when the last places are for stations that
        have fewer requests pending, or when others keep it beyond its deadline;
        DeadlineExceededError when the work itself does.
        """
        bound = self._limits.max_pending(kind)
        reserved = bound // _RESERVED_SHARE
        own = self._pending[kind, station]
        if self._admitted[kind] >= bound:
            raise self._overloaded(
                kind, now_s, f"{bound} {kind} requests are pending, the most this server takes"
            )
        if own >= reserved > 0 and self._admitted[kind] >= bound - reserved:
            raise self._overloaded(
                kind,
                now_s,
                f"{own} of your {kind} requests are pending, and the places that are left are for "
                "others",
            )
        # An idle server tries in any case: what it remembers of the last job may be wrong.
        if deadline_s is not None and any(self._admitted.values()):
            left_s = deadline_s - now_s
            work_s = self._batch_s[kind] if now_s < self._trusted_s[kind] else 0.0
            if work_s > left_s:
                self.refused[kind.value, DeadlineExceededError.reason] += 1
                raise DeadlineExceededError(
                    f"the deadline is {left_s:.3f} s away and a {kind} takes {work_s:.3f} s; "
                    "nothing was started, give more time"
                )
            if (wait_s := self.wait_s(kind, now_s)) + work_s > left_s:
                raise self._overloaded(
                    kind,
                    now_s,
                    f"the deadline is {left_s:.3f} s away, and {wait_s:.3f} s of other work come "
                    "first",
                )
        self._admitted[kind] += 1
        self._pending[kind, station] += 1

    def leave(self, kind: Kind, *, station: str = "") -> None:
        """Count a request out, however it ended."""
        assert self._pending[kind, station] > 0, (kind, station)
        self._admitted[kind] -= 1
        self._pending[kind, station] -= 1
        if not self._pending[kind, station]:
            del self._pending[kind, station]

    def depth(self, kind: Kind) -> int:
        """Requests of that class that were admitted and have not left."""
        return self._admitted[kind]

    def queued(self, kind: Kind) -> int:
        """Jobs of that class that wait for the device."""
        return len(self._queues[kind])

    def push(self, job: J) -> None:
        """Queue a job for the device."""
        self._queues[job.kind].push(job)

    def next_batch(self, now_s: float) -> Batch[J] | None:
        """The next work, or None when nothing is queued."""
        expired: list[J] = []
        gone: list[J] = []
        for queue in self._queues.values():
            gone += queue.remove(lambda job: job.gone())
            expired += queue.remove(
                lambda job: job.deadline_s is not None and job.deadline_s <= now_s
            )
        chosen = self._choose()
        jobs = [] if chosen is None else self._queues[chosen].take(self._limits.max_batch(chosen))
        return Batch(jobs=jobs, expired=expired, gone=gone) if jobs or expired or gone else None

    def start(self, kind: Kind, now_s: float, *, num_jobs: int) -> None:
        """A batch of that class begins."""
        self._running = kind, now_s, num_jobs

    def record(self, kind: Kind, *, seconds: float, num_jobs: int) -> None:
        """The batch is done; learn what it took, for honest estimates."""
        started_s = 0.0 if self._running is None else self._running[1]
        self._running = None
        for known, value in ((self._batch_s, seconds), (self._job_s, seconds / num_jobs)):
            known[kind] += (value - known[kind]) * (_SMOOTHING if known[kind] else 1)
        self._trusted_s[kind] = started_s + seconds + _TRUST * self._batch_s[kind]

    def running_s(self, now_s: float) -> float:
        """How long the batch that runs has been running; 0 for none."""
        return 0.0 if self._running is None else now_s - self._running[1]

    def wait_s(self, kind: Kind, now_s: float) -> float:
        """Seconds of work that come before a request which is admitted now."""
        running_s, waiting = 0.0, dict(self._admitted)
        if (running := self._running) is not None:
            running_kind, since_s, num_jobs = running
            # A batch that is overdue will take as long again, for all that is known.
            running_s = abs(num_jobs * self._job_s[running_kind] - (now_s - since_s))
            waiting[running_kind] = max(0, waiting[running_kind] - num_jobs)
        clicks, encodes = (waiting[k] * self._job_s[k] for k in (Kind.CLICK, Kind.ENCODE))
        return running_s + clicks + (encodes if kind is Kind.ENCODE else 0.0)

    def drain(self) -> list[J]:
        """Everything queued, taken out."""
        return [job for queue in self._queues.values() for job in queue.remove(lambda job: True)]

    def _overloaded(self, kind: Kind, now_s: float, what: str) -> OverloadedError:
        self.refused[kind.value, OverloadedError.reason] += 1
        retry_s = max(self.wait_s(kind, now_s), _MIN_RETRY_S)
        return OverloadedError(f"{what}; retry after {retry_s:.3f} s", retry_after_s=retry_s)

    def _choose(self) -> Kind | None:
        clicks, encodes = self._queues[Kind.CLICK], self._queues[Kind.ENCODE]
        if clicks and not (encodes and self._click_streak >= self._limits.max_click_streak):
            self._click_streak += 1
            return Kind.CLICK
        self._click_streak = 0
        return Kind.ENCODE if encodes else None


class _Turns(Generic[J]):
    """A queue in which the stations take turns; each one's jobs stay in order of arrival."""

    def __init__(self) -> None:
        self._stations: OrderedDict[str, deque[J]] = OrderedDict()  # whose turn it is first

    def __len__(self) -> int:
        return sum(map(len, self._stations.values()))

    def push(self, job: J) -> None:
        self._stations.setdefault(job.station, deque()).append(job)

    def remove(self, unwanted: Callable[[J], bool]) -> list[J]:
        """Take out the jobs that are unwanted."""
        removed: list[J] = []
        for station, queue in list(self._stations.items()):
            kept: deque[J] = deque()
            for job in queue:
                (removed if unwanted(job) else kept).append(job)
            self._replace(station, kept)
        return removed

    def take(self, room: int) -> list[J]:
        """One job per station in turn, all of the first one's group, up to `room`; at least one."""
        jobs: list[J] = []
        for job in self._in_turn():
            if jobs and (job.group != jobs[0].group or job.size > room):
                continue
            self._stations[job.station].popleft()
            self._stations.move_to_end(job.station)
            jobs.append(job)
            room -= job.size
            if room <= 0:
                break
        for station in [known for known, queue in self._stations.items() if not queue]:
            del self._stations[station]
        return jobs

    def _in_turn(self) -> Iterator[J]:
        """Heads of the queues, round after round; whoever's head is not taken is passed by."""
        waiting = list(self._stations)
        while waiting:
            following = []
            for station in waiting:
                queue = self._stations[station]
                before = len(queue)
                yield queue[0]
                if queue and len(queue) < before:
                    following.append(station)
            waiting = following

    def _replace(self, station: str, queue: deque[J]) -> None:
        if queue:
            self._stations[station] = queue
        else:
            del self._stations[station]
