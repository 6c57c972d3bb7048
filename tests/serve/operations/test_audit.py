"""What the audit log keeps: through crashes, full disks, moved files; and what refuses to go on."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.errors import AuditBrokenError, AuditFailedError, InvalidInputError
from apsam_serve.service.audit import AuditLog
from apsam_serve.service.audit_chain import GENESIS, verify
from apsam_serve.service.calls import CallRecord

Record = Callable[..., CallRecord]
ENDLESS = """
import sys, time
from pathlib import Path
from apsam_serve.service.audit import AuditLog
from apsam_serve.service.calls import CallRecord
log = AuditLog(Path(sys.argv[1]), sync_s=60)
log.open()
call = dict(method="Segment", owner="o", peer="p", code="OK", reason="", seconds=1.0)
for _ in range(50):
    log.finished(CallRecord(**call))
print("taken", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@contextmanager
def opened(path: Path, **settings: Any) -> Iterator[AuditLog]:
    log = AuditLog(path, **{"retry_s": 0.02, **settings})
    log.open()
    try:
        yield log
    finally:
        log.close()


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond that."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def eventually(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_a_record_says_who_asked_what_about_which_image_and_model(
    path: Path, record: Record
) -> None:
    with opened(path) as log:
        log.finished(record(owner="station-7", request_id="x" * 5000))
        log.flush()
        header, kept = lines(path)
    assert (header["seq"], header["format"], header["previous"]) == (0, "apsam-audit/1", GENESIS)
    assert kept["previous"] == header["hash"]
    assert (kept["seq"], kept["owner"], kept["method"], kept["code"]) == (
        *(1, "station-7"),
        *("Segment", "OK"),
    )
    assert kept["peer"] == "ipv4:10.0.0.7:4242"
    assert (kept["image_digest"], kept["model_digest"]) == ("1" * 64, "2" * 64)
    assert (kept["prompt_digest"], kept["mask_digests"]) == ("3" * 64, ["4" * 64])
    assert kept["latency_s"] == 0.012
    assert kept["time"].endswith("+00:00")
    assert kept["request_id"] == "x" * 128 + "... of 5000"


def test_a_log_opened_again_continues_its_chain(path: Path, record: Record) -> None:
    for _ in range(3):
        with opened(path) as log:
            log.finished(record())
    chain = verify(path)
    assert (chain.num_records, chain.previous) == (3, GENESIS)
    assert chain.last_hash == lines(path)[-1]["hash"]


def test_records_of_many_threads_are_one_chain(path: Path, record: Record) -> None:
    with opened(path) as log:
        threads = [
            threading.Thread(target=lambda: [log.finished(record()) for _ in range(250)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log.flush()
        assert verify(path).num_records == log.num_records == 1000


@pytest.mark.parametrize("torn", [b'{"code":"OK","la', b"\0" * 5000, b'{"half": "a header'])
def test_half_a_line_after_a_crash_is_set_aside_and_a_record_says_so(
    path: Path, record: Record, torn: bytes
) -> None:
    if b"header" not in torn:
        with opened(path) as log:
            log.finished(record())
    with path.open("ab") as file:
        file.write(torn)
    with opened(path) as log:
        log.finished(record())
    verify(path)
    notice = lines(path)[-2]["torn"]
    assert notice["num_bytes"] == len(torn)
    aside = path.parent / notice["file"]
    assert aside.read_bytes() == torn
    assert aside.stat().st_mode & 0o007 == 0


def test_a_log_that_does_not_end_as_it_was_written_is_not_continued(
    path: Path, record: Record
) -> None:
    with opened(path) as log:
        for _ in range(1000):
            log.finished(record())
    before = path.read_bytes()
    path.write_bytes(before[:-90] + b"?" + before[-89:])
    with pytest.raises(AuditBrokenError, match=r"audit\.jsonl line \d+ of its end"):
        AuditLog(path).open()
    path.write_bytes(before)
    with opened(path):
        pass


@pytest.mark.parametrize("kind", ["a folder", "no folder", "a device"])
def test_a_path_that_is_no_plain_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    paths = {"a folder": tmp_path, "no folder": tmp_path / "a" / "b", "a device": Path("/dev/null")}
    with pytest.raises(InvalidInputError, match=f"^--audit-log {paths[kind]} .*; give"):
        AuditLog(paths[kind]).open()


def test_two_servers_never_share_a_log(path: Path) -> None:
    with opened(path), pytest.raises(InvalidInputError, match="in use by another server"):
        AuditLog(path).open()
    with opened(path):
        pass


def test_a_full_disk_stops_new_calls_and_loses_no_record(path: Path, record: Record) -> None:
    healthy: list[bool] = []
    with opened(path) as log:
        log.on_health(healthy.append)
        log.finished(record())
        log.flush()
        # The next record is cut in its middle.
        with full_disk(path.stat().st_size + 100):
            log.finished(record())
            with pytest.raises(AuditFailedError, match=r"cannot be written \(.*free its disk"):
                log.flush()
            eventually(lambda: healthy == [False])
            with pytest.raises(AuditFailedError, match="so nothing is answered"):
                log.require_writable()
            log.finished(record())  # its work had begun before
        eventually(lambda: not log.failed)
        log.require_writable()
        log.flush()
        assert verify(path).num_records == 3
    eventually(lambda: healthy == [False, True])


def test_what_does_not_fit_into_the_queue_is_not_answered(path: Path, record: Record) -> None:
    with opened(path, max_pending=2) as log:
        with full_disk(path.stat().st_size):
            log.finished(record())
            log.finished(record())
            with pytest.raises(AuditFailedError, match="no room for another record"):
                log.finished(record())
            log.finished(record(code="UNAVAILABLE", reason="AUDIT_FAILED"))  # is not recorded
        eventually(lambda: not log.failed)
        log.flush()
        assert verify(path).num_records == 2


def test_a_log_closed_on_a_full_disk_hands_its_records_to_the_servers_log(
    path: Path, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk(0):
        path.touch()
        with pytest.raises(InvalidInputError, match=r"cannot be written .*make room"):
            AuditLog(path).open()
    log = AuditLog(path, retry_s=0.02)
    log.open()
    with full_disk(path.stat().st_size):
        log.finished(record(owner="the-last"))
        log.close()
    assert "not in the audit log" in caplog.text
    assert '"owner": "the-last"' in caplog.text


def test_a_file_that_was_moved_away_is_continued_by_a_new_one(path: Path, record: Record) -> None:
    old = path.with_name("audit-1.jsonl")
    with opened(path) as log:
        log.finished(record())
        log.flush()
        path.rename(old)
        log.finished(record())
        log.flush()
        log.finished(record())
        log.flush()
    assert verify(old).num_records == 1
    chain = verify(path)
    assert (chain.num_records, chain.previous) == (2, verify(old).last_hash)


def test_a_file_that_another_program_cut_is_left_as_it_is_and_continued_once_moved(
    path: Path, record: Record
) -> None:
    old = path.with_name("audit-1.jsonl")
    with opened(path) as log:
        log.finished(record())
        log.flush()
        before = verify(path).last_hash
        path.write_bytes(b"")
        log.finished(record())
        with pytest.raises(AuditFailedError, match=r"another program has changed the file; move"):
            log.flush()
        path.rename(old)
        eventually(lambda: not log.failed)
        log.flush()
    assert old.read_bytes() == b""
    chain = verify(path)
    assert (chain.num_records, chain.previous) == (1, before)


def test_a_file_moved_away_from_a_full_disk_hands_its_last_records_on(
    path: Path, record: Record
) -> None:
    with opened(path) as log:
        with full_disk(path.stat().st_size + 100):
            log.finished(record())
            eventually(lambda: log.failed)
            path.rename(path.with_name("audit-1.jsonl"))
            log.finished(record())
        eventually(lambda: not log.failed)
        log.flush()
    found = [path, path.with_name("audit-1.jsonl")]
    assert sum(verify(file).num_records for file in found) == 2


def test_a_killed_process_has_written_what_it_took(path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()  # all are taken
    eventually(lambda: path.read_bytes().count(b"\n") == 51)
    child.kill()
    child.communicate()
    with opened(path):
        assert verify(path).num_records == 50


def test_a_disk_that_fails_again_and_again_takes_each_record_once(
    path: Path, record: Record
) -> None:
    rng = random.Random(7)
    with opened(path, retry_s=0.001, sync_s=0.001) as log:
        for _ in range(20):
            with full_disk(path.stat().st_size + rng.randrange(1500)):
                for _ in range(rng.randrange(6)):
                    log.finished(record(request_id=str(log.num_records)))
                time.sleep(0.004)
        eventually(lambda: not log.failed)
        log.flush()
        ids = [line.get("request_id") for line in lines(path)[1:]]
        assert ids == [str(number) for number in range(log.num_records)]
    verify(path)
