"""The server's log on standard error: text for people, or one JSON object per line."""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from apsam_serve.config import LogFormat
from apsam_serve.service.calls import CallRecord

_MAX_LINES = 10_000
_MAX_TEXT = 128  # characters of what callers choose themselves
_PATIENCE_S = 1.0
_GATHER_S = 0.02
"""How long a request's line may wait for the next ones. At once, its writer would take the
interpreter from the event loop just when that has an answer to send."""
_CALL = "_apsam_call"
_log = logging.getLogger("apsam_serve.requests")


class Log(logging.Handler):
    """Takes every line of this process from `open` to `close` and writes it on a thread, so that a
    slow terminal or pipe holds no call up. Lines that find the queue full are dropped and counted.

    log_format: "auto" is text where `stream` is a terminal, JSON elsewhere; stream: None for
    standard error.
    """

    def __init__(
        self, log_format: LogFormat, *, stream: TextIO | None = None, max_lines: int = _MAX_LINES
    ) -> None:
        super().__init__(logging.INFO)
        self._stream = sys.stderr if stream is None else stream
        text = log_format == "text" or (log_format == "auto" and self._stream.isatty())
        self.setFormatter(_Text() if text else _Json())
        self.num_dropped = 0
        self._max_lines = max_lines
        self._queue: queue.SimpleQueue[str | logging.LogRecord | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._replaced: list[logging.Handler] = []

    def open(self) -> None:
        """Become the only handler of the root logger."""
        root = logging.getLogger()
        self._replaced, root.handlers = root.handlers, [self]
        root.setLevel(logging.INFO)
        self._thread = threading.Thread(target=self._write_all, name="apsam-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is left, and give the root logger its handlers back. Harmless when closed."""
        if self._thread is not None:
            logging.getLogger().handlers = self._replaced
            self._put(None)
            self._thread.join(_PATIENCE_S)  # where nobody reads, what is left is lost
            self._thread = None
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging. A request's line is made on the writer's thread, for its call stays
        as it is; any other here, where its arguments still are what they were."""
        if self._queue.qsize() >= self._max_lines:
            self.num_dropped += 1
            return
        try:
            if _CALL in vars(record):
                self._queue.put(record)
            else:
                self._put(self.format(record))
        except Exception:  # as the standard library's handlers do: a bad line is no bad call
            self.handleError(record)

    def _put(self, item: str | None) -> None:
        """What no request's line holds up."""
        self._queue.put(item)
        self._hurry.set()

    def _write_all(self) -> None:
        idle = True
        while (item := self._queue.get()) is not None:
            if idle and not isinstance(item, str):
                self._hurry.wait(_GATHER_S)
            self._hurry.clear()  # before the look at the queue, or what comes now could be missed
            idle = self._queue.empty()
            try:
                line = item if isinstance(item, str) else self.format(item)
                self._stream.write(f"{line}\n")
                if idle:
                    self._stream.flush()
            except Exception:  # a pipe whose reader has gone, a line that cannot be made
                self.num_dropped += 1


class RequestLog:
    """Writes one line per call, and per step of a session, when it has ended. trace_id: of the call
    that runs here, "" for none."""

    def __init__(self, *, trace_id: Callable[[], str] = lambda: "") -> None:
        self._trace_id = trace_id

    def finished(self, record: CallRecord) -> None:
        """Log one call."""
        level = logging.INFO if record.code in ("OK", "CANCELLED") else logging.WARNING
        if record.code in ("INTERNAL", "UNKNOWN"):
            level = logging.ERROR
        if _log.isEnabledFor(level):
            # Not by `_log.log`, which looks through the stack for who calls.
            line = logging.LogRecord(_log.name, level, "", 0, "request", None, None)
            vars(line)[_CALL] = record, self._trace_id()
            _log.handle(line)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
        }
        fields = _fields(record)
        if fields:
            line |= {"event": record.getMessage(), **fields}
        else:
            line |= {"event": "log", "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = f"apsam-serve: {record.levelname}: {record.getMessage()}"
        known = {key: value for key, value in _fields(record).items() if value not in ("", 0)}
        # Callers choose some of the values: a line break in one must not make a line of its own.
        text = " ".join((text, *(f"{key}={_escaped(value)}" for key, value in known.items())))
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def _escaped(value: object) -> str:
    return str(value).encode("unicode_escape").decode("ascii")


def _fields(line: logging.LogRecord) -> Mapping[str, Any]:
    """Of a request's line; none of any other."""
    if _CALL not in vars(line):
        return {}
    record, trace_id = vars(line)[_CALL]
    return {
        "request_id": record.request_id[:_MAX_TEXT],
        "method": record.method,
        "code": record.code,
        "reason": record.reason,
        "owner": record.owner,
        "peer": record.peer,
        "ms": round(record.seconds * 1000, 3),
        "num_bytes_in": record.num_bytes_in,
        "num_bytes_out": record.num_bytes_out,
        "embedding": record.handle[:_MAX_TEXT],
        "model_digest": record.model_digest,
        "trace_id": trace_id,
    }
