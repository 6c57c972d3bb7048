"""Records every answer in the audit log, before the caller has it.

`finished` takes a record into a bounded queue; a thread writes it at once, and every `sync_s` waits
for the disk, for all records since. So the end of the process takes what the thread had not yet
written, a few milliseconds, and a power cut what the disk had not confirmed: `sync_s` and the
disk's own time. While the log cannot be written nothing is answered: what was under way is kept and
written later, new calls are refused.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from apsam_serve.errors import AuditFailedError
from apsam_serve.service.audit_chain import ChainFile, utc_now
from apsam_serve.service.calls import CallRecord

Listener = Callable[[bool], None]
_MAX_TEXT = 128  # characters of what callers choose themselves
_log = logging.getLogger("apsam_serve.audit")


class AuditLog:
    """Appends to `path`. When the path no longer leads to its file, because somebody moved that, it
    goes on in a new file there that names the last hash of the old one.

    sync_s: between waits for the disk; retry_s: between attempts after a failure; max_pending:
    records that the disk has not confirmed.
    """

    def __init__(
        self, path: Path, *, sync_s: float = 0.05, retry_s: float = 1.0, max_pending: int = 10_000
    ) -> None:
        self._path = path
        self._sync_s = sync_s
        self._retry_s = retry_s
        self._max_pending = max_pending
        self._listener: Listener = lambda healthy: None
        self._changed = threading.Condition()
        self._pending: deque[Mapping[str, Any]] = deque()
        self._num_accepted = 0
        self._num_durable = 0
        self._failure = ""
        self._wanted = False
        self._closing = False
        self._file: ChainFile | None = None
        self._thread: threading.Thread | None = None

    @property
    def num_records(self) -> int:
        """Records taken since `open`."""
        return self._num_accepted

    @property
    def failed(self) -> bool:
        """Whether the last attempt to write has failed."""
        return bool(self._failure)

    def on_health(self, listener: Listener) -> None:
        """Call `listener` with False when writing fails and with True when it works again, on the
        log's own thread."""
        self._listener = listener

    def open(self) -> None:
        """Verify the file's end, or begin a file.

        Raises InvalidInputError for a path that cannot be written or that another process holds,
        AuditBrokenError for a file that does not end as it was written.
        """
        self._file = ChainFile(self._path)
        self._thread = threading.Thread(target=self._main, name="apsam-audit", daemon=True)
        self._thread.start()

    def require_writable(self) -> None:
        """Raise AuditFailedError while a record might not be kept."""
        if self._failure:
            raise AuditFailedError(
                f"the audit log {self._path} cannot be written ({self._failure}), so nothing is "
                "answered; free its disk"
            )
        if self._num_accepted - self._num_durable >= self._max_pending:
            raise AuditFailedError(
                f"{self._max_pending} records wait for the audit log {self._path}, so nothing is "
                "answered; give it a faster disk"
            )

    def finished(self, record: CallRecord) -> None:
        """Take the record of a call. Returns at once; belongs to any thread.

        Raises AuditFailedError when there is no room to keep it. Refusals for that same reason are
        not recorded: they would fill the room that the log needs to recover.
        """
        if record.reason == AuditFailedError.reason:
            return
        content = {"time": utc_now(), **_content(record)}
        with self._changed:
            if self._closing or self._num_accepted - self._num_durable >= self._max_pending:
                raise AuditFailedError(
                    f"the audit log {self._path} has no room for another record; free its disk"
                )
            self._pending.append(content)
            self._num_accepted += 1
            self._changed.notify_all()

    def flush(self) -> None:
        """Return when the disk has everything taken so far. Raises AuditFailedError."""
        with self._changed:
            wanted = self._num_accepted
            self._wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._num_durable >= wanted or self._failure)
            if self._num_durable < wanted:
                self.require_writable()

    def close(self) -> None:
        """Write what is left, a last time; what cannot be written goes to the log of the server, so
        that it is somewhere. Harmless when closed already."""
        if self._thread is None or self._file is None:
            return
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._thread = None
        for content in (*self._file.unconfirmed, *self._pending):
            _log.error("not in the audit log: %s", json.dumps(content))
        self._file.close()

    def _main(self) -> None:
        synced_s = time.monotonic()
        while True:
            with self._changed:
                self._wait(synced_s)
                closing = self._closing
            try:
                self._take_and_write()
                due = closing or self._wanted or self._failure
                if due or time.monotonic() >= synced_s + self._sync_s:
                    self._sync()
                    synced_s = time.monotonic()
            except Exception as error:  # whatever it is, nothing may be answered unrecorded
                self._set_failure(str(error) or repr(error))
            if closing:
                return

    def _wait(self, synced_s: float) -> None:
        """Until there is work: a record, an order, or records that the disk has not confirmed."""
        if self._failure:
            self._changed.wait_for(lambda: self._closing, self._retry_s)
            return
        dirty = self._num_durable < self._num_accepted and not self._pending
        rest_s = max(0.0, synced_s + self._sync_s - time.monotonic()) if dirty else None
        self._changed.wait_for(lambda: self._pending or self._closing or self._wanted, rest_s)

    def _take_and_write(self) -> None:
        """Chain what has come and write it; after a failure, write again what may be lost."""
        assert self._file is not None
        if self._file.moved():
            self._begin_another()
        while self._pending:
            self._file.append(self._pending.popleft())
        if self._failure:
            self._file.rewrite()
        else:
            self._file.write()

    def _begin_another(self) -> None:
        """Complete the old file, and continue its chain where the path leads now. What the old one
        cannot take any more goes into the new one."""
        assert self._file is not None
        old = self._file
        try:
            old.rewrite()
        except OSError as error:
            _log.error("the old file of the audit log is not complete: %s", error)
        self._file = ChainFile(self._path, previous=old.confirmed_hash)
        for content in old.unconfirmed:
            self._file.append(content)
        old.close()
        _log.warning("the file of the audit log was moved away; %s continues it", self._path)

    def _sync(self) -> None:
        assert self._file is not None
        self._file.sync()
        with self._changed:
            self._num_durable = self._num_accepted - len(self._pending)
            self._wanted = self._wanted and bool(self._pending)
            recovered, self._failure = bool(self._failure), ""
            self._changed.notify_all()
        if recovered:
            _log.warning("the audit log works again, with every record that it had taken")
            self._listener(True)

    def _set_failure(self, message: str) -> None:
        with self._changed:
            first, self._failure = not self._failure, message
            self._wanted = False
            self._changed.notify_all()
        if first:
            _log.error("the audit log %s cannot be written: %s", self._path, message)
            self._listener(False)


def _content(record: CallRecord) -> dict[str, Any]:
    return {
        "owner": record.owner,
        "peer": record.peer,
        "method": record.method,
        "code": record.code,
        "reason": record.reason,
        "replayed": record.replayed,
        "request_id": _short(record.request_id),
        "handle": _short(record.handle),
        "image_digest": record.image_digest,
        "model_digest": record.model_digest,
        "prompt_digest": record.prompt_digest,
        "mask_digests": list(record.mask_digests),
        "latency_s": round(record.seconds, 6),
    }


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}... of {len(text)}"
