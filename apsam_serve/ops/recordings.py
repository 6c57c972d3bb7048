"""Work that is recorded once as a CUDA graph, and then replayed by one call."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from apsam_serve.errors import ApsamError

MAX_RECORDINGS = 64
"""Kept at once; the least recently used one goes. Callers choose the numbers that are part of a
key, so without a bound they would choose how much memory is taken."""
_UNRECORDABLE: Final = object()
_log = logging.getLogger("apsam_serve.ops")


class Recordings:
    """Recordings of one stream. check(result, what): the values of a CUDA call's result; raises an
    ApsamError for a failure. One thread at a time uses it."""

    def __init__(
        self, cuda: Any, stream: Any, check: Callable[[tuple[Any, ...], str], Any]
    ) -> None:
        self._cuda = cuda
        self._stream = stream
        self._check = check
        self._graphs: OrderedDict[object, Any] = OrderedDict()  # None: seen once, not recorded yet
        self.recording = False

    def replay(self, key: object, work: Callable[[], None]) -> None:
        """See `ops.memory.Device.replay`. The first call of a key only works: a library may
        allocate then, which a recording cannot."""
        if key not in self._graphs:
            work()
            self._remember(key)
            return
        if self._graphs[key] is None:
            self._graphs[key] = self._record(key, work)
        self._graphs.move_to_end(key)
        graph = self._graphs[key]
        if graph is _UNRECORDABLE:
            work()
        else:
            self._check(self._cuda.cudaGraphLaunch(graph, self._stream), "replay a recording")

    def close(self) -> None:
        """Free everything; nothing may be running."""
        while self._graphs:
            self._destroy(self._graphs.popitem()[1])

    def _remember(self, key: object) -> None:
        self._graphs[key] = None
        if len(self._graphs) > MAX_RECORDINGS:
            self._destroy(self._graphs.popitem(last=False)[1])

    def _record(self, key: object, work: Callable[[], None]) -> Any:
        """What `work` queues as an executable graph; nothing of it is done yet. Where that fails,
        `_UNRECORDABLE`, and the log says why: slower answers are better than none."""
        try:
            graph = self._captured(work)
            try:
                return self._check(self._cuda.cudaGraphInstantiate(graph, 0), "make a recording")
            finally:
                self._cuda.cudaGraphDestroy(graph)
        except ApsamError as error:
            _log.warning("%s cannot be recorded, so it takes longer: %s", key, error)
            return _UNRECORDABLE

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
        if graph is not None and graph is not _UNRECORDABLE:
            self._cuda.cudaGraphExecDestroy(graph)
