"""The audit log's file: one JSON object per line, each holding the SHA-256 of the line before.

A line is the canonical JSON of its record: sorted keys, no spaces, ASCII. `hash` is over the
canonical JSON of all other keys; `previous` is the hash of the line before. Line 1 is a header with
`format`; its `previous` is the last hash of the file that this one continues, or zeros.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apsam_serve.errors import AuditBrokenError, InvalidInputError

FORMAT = "apsam-audit/1"
GENESIS = "0" * 64
_TAIL_BYTES = 2**18  # dozens of the longest records
_PERMISSIONS = 0o640
_WATCHED = 1000
"""Records between two words to whoever watches."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What a sound log holds. num_records: without the header; times: UTC, ISO 8601; previous: the
    last hash of the file that this one continues, GENESIS for none."""

    num_records: int
    first_time: str
    last_time: str
    last_hash: str
    previous: str


@dataclass(frozen=True, kw_only=True)
class _Appended:
    content: Mapping[str, Any]
    line: bytes


@dataclass(frozen=True, kw_only=True)
class _Link:
    seq: int
    time: str
    previous: str
    hash: str


def verify(
    path: Path, *, expect_hash: str = "", watch: Callable[[float], None] | None = None
) -> Chain:
    """Check every line. expect_hash: noted earlier, so it must be the hash of a line; only that can
    show that the end was cut off, or that everything was written anew. watch: is told now and then
    which share of the file is read.

    Raises AuditBrokenError naming the first line that is not as it was written.
    """
    first: _Link | None = None
    last: _Link | None = None
    seen = not expect_hash
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            for link in _links(str(path), file, first=1):
                first = first or link
                last = link
                seen = seen or link.hash == expect_hash
                if watch is not None and link.seq % _WATCHED == 0:
                    watch(file.tell() / size)
    except OSError as error:
        raise AuditBrokenError(f"{path} cannot be read ({error}); give an audit log") from error
    if first is None or last is None:
        raise AuditBrokenError(f"{path} line 1: the file is empty, not even a header is left")
    if not seen:
        raise AuditBrokenError(
            f"{path} line {last.seq + 1}: no line up to this last one has the hash {expect_hash} "
            "that was expected; the end was cut off, or all was written anew"
        )
    return Chain(
        num_records=last.seq,
        first_time=first.time,
        last_time=last.time,
        last_hash=last.hash,
        previous=first.previous,
    )


def encoded(content: Mapping[str, Any]) -> tuple[bytes, str]:
    """(line, hash) of a record."""
    digest = hashlib.sha256(_canonical(content)).hexdigest()
    return _canonical({**content, "hash": digest}) + b"\n", digest


def utc_now() -> str:
    """The time of a record."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class ChainFile:
    """One locked file, appended to. `previous`: the last hash of the file that it continues, should
    it be new. What `sync` has not confirmed is kept, for `rewrite` after a failure.

    Raises AuditBrokenError for a file that does not end as it was written, InvalidInputError for
    one that cannot be opened or written, or that another process holds.
    """

    def __init__(self, path: Path, *, previous: str = GENESIS) -> None:
        self._path = path
        self._unconfirmed: list[_Appended] = []
        self._num_written = 0
        self._confirmed_size = self._size = 0
        self._seq = 0
        self._confirmed_hash = self._hash = previous
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _PERMISSIONS)
        except OSError as error:
            raise InvalidInputError(
                f"--audit-log {path} cannot be opened ({error}); give a file in a folder of its own"
            ) from error
        try:
            self._lock()
            self._continue()
        except OSError as error:
            os.close(self._file)
            raise InvalidInputError(
                f"--audit-log {path} cannot be written ({error}); make room, or give another file"
            ) from error
        except BaseException:
            os.close(self._file)
            raise

    @property
    def confirmed_hash(self) -> str:
        """Of the last line that the disk has confirmed."""
        return self._confirmed_hash

    @property
    def unconfirmed(self) -> list[Mapping[str, Any]]:
        """Records that a power cut may still take, as they were appended."""
        return [appended.content for appended in self._unconfirmed]

    def moved(self) -> bool:
        """Whether the path no longer leads to this file."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return True
        ours = os.fstat(self._file)
        return (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino)

    def append(self, content: Mapping[str, Any]) -> None:
        """Chain a record; `write` puts it into the file."""
        line, self._hash = encoded({"seq": self._seq, **content, "previous": self._hash})
        self._seq += 1
        self._unconfirmed.append(_Appended(content=content, line=line))

    def write(self) -> None:
        """Hand all that was appended to the system: it survives this process. Raises OSError."""
        if os.fstat(self._file).st_size != self._size:
            raise OSError("another program has changed the file; move it away and look into it")
        rest = memoryview(b"".join(one.line for one in self._unconfirmed[self._num_written :]))
        while rest:
            num_bytes = os.write(self._file, rest)
            self._size += num_bytes
            rest = rest[num_bytes:]
        self._num_written = len(self._unconfirmed)

    def sync(self) -> None:
        """Wait for the disk: what was written survives a power cut. Raises OSError."""
        os.fsync(self._file)
        self._confirmed_size, self._confirmed_hash = self._size, self._hash
        self._unconfirmed = []
        self._num_written = 0

    def rewrite(self) -> None:
        """After a failure, write again all that the disk has not confirmed: a failed write may have
        left half a line, a failed sync nothing at all. Raises OSError."""
        if os.fstat(self._file).st_size == self._size:
            os.ftruncate(self._file, self._confirmed_size)
            self._size = self._confirmed_size
            self._num_written = 0
        self.write()
        self.sync()

    def close(self) -> None:
        """Let go of file and lock."""
        os.close(self._file)

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise InvalidInputError(f"--audit-log {self._path} is no plain file; give one")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InvalidInputError(
                f"--audit-log {self._path} is in use by another server; give each its own file"
            ) from error

    def _continue(self) -> None:
        """Verify the end, set a torn last line aside, and be ready for the next record."""
        self._size = os.fstat(self._file).st_size
        start = max(0, self._size - _TAIL_BYTES)
        tail = os.pread(self._file, self._size - start, start)
        whole, newline, torn = tail.rpartition(b"\n")
        if not newline:
            whole, torn = b"", tail
        lines = whole.split(b"\n") if newline else []
        if start:
            lines = lines[1:]  # the first one's beginning is not here
        if start and not lines:
            raise AuditBrokenError(f"{self._path} does not end in records; move it away")
        whole_lines = (line + b"\n" for line in lines)
        links = list(_links(str(self._path), whole_lines, first=None if start else 1))
        last = links[-1] if links else None
        if last is not None:
            self._seq, self._hash = last.seq + 1, last.hash
        notice = self._set_aside(torn) if torn else None
        if last is None:
            self.append({"time": utc_now(), "format": FORMAT})
        if notice:
            self.append({"time": utc_now(), "torn": notice})
        self.write()
        self.sync()
        _sync_folder(self._path.parent)

    def _set_aside(self, torn: bytes) -> dict[str, object]:
        """Move half a line into a file of its own, as a crash left it."""
        aside = self._path.with_name(f"{self._path.name}.torn-{hashlib.sha256(torn).hexdigest()}")
        with open(
            os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PERMISSIONS), "wb"
        ) as file:
            file.write(torn)
            file.flush()
            os.fsync(file.fileno())
        self._size -= len(torn)
        os.ftruncate(self._file, self._size)
        return {"file": aside.name, "num_bytes": len(torn)}


def _links(name: str, lines: Iterable[bytes], *, first: int | None) -> Iterator[_Link]:
    """Check line by line. first: number of the first line, None where lines are a file's end."""
    after: _Link | None = None
    for index, line in enumerate(lines):
        where = f"{name} line {first + index}" if first else f"{name} line {index + 1} of its end"
        link, header = _link(where, line)
        if first == 1 and index == 0:
            if link.seq != 0 or header != FORMAT:
                raise AuditBrokenError(
                    f"{where} is no header of {FORMAT}; the first lines are gone"
                )
        elif after is not None and (link.previous, link.seq) != (after.hash, after.seq + 1):
            raise AuditBrokenError(
                f"{where} is record {link.seq} and follows {link.previous[:12]}, but before it is "
                f"record {after.seq} with {after.hash[:12]}; lines were removed, added or moved"
            )
        after = link
        yield link


def _link(where: str, line: bytes) -> tuple[_Link, str]:
    """(place in the chain, format) of a line that is in itself as it was written."""
    if not line.endswith(b"\n"):
        raise AuditBrokenError(f"{where} has no end; it was cut")
    try:
        record = json.loads(line)
        content = {key: value for key, value in record.items() if key != "hash"}
        again, digest = encoded(content)
        link = _Link(
            seq=int(record["seq"]),
            time=str(record["time"]),
            previous=str(record["previous"]),
            hash=digest,
        )
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise AuditBrokenError(f"{where} is no record ({error!r}); it was changed") from error
    if again != line:
        raise AuditBrokenError(
            f"{where} was changed: its content has the hash {digest}, and it says "
            f"{str(record.get('hash'))[:64]}"
        )
    return link, str(content.get("format", ""))


def _canonical(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def _sync_folder(folder: Path) -> None:
    """A new file's name is the folder's content."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
