"""Work that is recorded once as a CUDA graph, and then replayed by one call."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from apsam_serve.errors import ApsamError

MAX_RECORDINGS = 64
"""Kept at once; the least recently used one goes. Callers choose the numbers that are part of a
key, so without a bound they would choose how much memory is taken."""
MAX_ATTEMPTS: Final = 2
"""To record one key: whoever waits for the whole device meanwhile, which is nobody here, spoils a
recording that would succeed the next time."""
_log = logging.getLogger("apsam_serve.ops")
_turn = threading.RLock()
_num_held_off = 0


@contextmanager
def without_recordings() -> Iterator[None]:
    """Nobody starts to record inside the block, on whichever thread; waits for one that does.

    Libraries allocate, free and wait for the whole device while they load or close a model. CUDA
    forbids that to every thread while another one records, and both fail.
    """
    global _num_held_off
    with _turn:
        _num_held_off += 1
    try:
        yield
    finally:
        with _turn:
            _num_held_off -= 1


@contextmanager
def turn_to_record() -> Iterator[bool]:
    """Whether this thread may record inside the block; what it may not it does without."""
    with _turn:
        yield not _num_held_off


class Recordings:
    """Recordings of one stream. check(result, what): the values of a CUDA call's result; raises an
    ApsamError for a failure. One thread at a time uses it."""

    def __init__(
        self, cuda: Any, stream: Any, check: Callable[[tuple[Any, ...], str], Any]
    ) -> None:
        self._cuda = cuda
        self._stream = stream
        self._check = check
        # What is not recorded yet has the number of attempts that failed.
        self._graphs: OrderedDict[object, Any] = OrderedDict()
        self.recording = False

    def replay(self, key: object, work: Callable[[], None]) -> None:
        """See `ops.memory.Device.replay`. The first call of a key only works: a library may
        allocate then, which a recording cannot."""
        if key not in self._graphs:
            work()
            self._remember(key)
            return
        graph = self._graphs[key]
        if isinstance(graph, int) and graph < MAX_ATTEMPTS:
            with turn_to_record() as allowed:
                if allowed:
                    graph = self._graphs[key] = self._record(key, work, graph + 1)
        self._graphs.move_to_end(key)
        if isinstance(graph, int):
            work()
        else:
            self._check(self._cuda.cudaGraphLaunch(graph, self._stream), "replay a recording")

    def close(self) -> None:
        """Free everything; nothing may be running."""
        while self._graphs:
            self._destroy(self._graphs.popitem()[1])

    def _remember(self, key: object) -> None:
        self._graphs[key] = 0
        if len(self._graphs) > MAX_RECORDINGS:
            self._destroy(self._graphs.popitem(last=False)[1])

    def _record(self, key: object, work: Callable[[], None], attempt: int) -> Any:
        """What `work` queues as an executable graph; nothing of it is done yet. Where that fails,
        `attempt`, and at the last one the log says why: slower answers are better than none."""
        try:
            graph = self._captured(work)
            try:
                return self._check(self._cuda.cudaGraphInstantiate(graph, 0), "make a recording")
            finally:
                self._cuda.cudaGraphDestroy(graph)
        except ApsamError as error:
            if attempt == MAX_ATTEMPTS:
                _log.warning("%s cannot be recorded, so it takes longer: %s", key, error)
            return attempt

    def _captured(self, work: Callable[[], None]) -> Any:
        cuda, stream = self._cuda, self._stream
        # Other threads may load models, and so allocate, while this one records.
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._check(cuda.cudaStreamBeginCapture(stream, mode), "start recording")
        self.recording = True
        try:
            work()
        except BaseException:
            code, graph = cuda.cudaStreamEndCapture(stream)
            if not int(code):
                cuda.cudaGraphDestroy(graph)
            raise
        finally:
            self.recording = False
        return self._check(cuda.cudaStreamEndCapture(stream), "end recording")

    def _destroy(self, graph: Any) -> None:
        """Also while the GPU runs it: it is freed afterwards then."""
        if not isinstance(graph, int):
            self._cuda.cudaGraphExecDestroy(graph)
