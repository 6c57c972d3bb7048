"""`apsam-audit verify` finds what was changed, and says where."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apsam_serve.audit_cli import main
from apsam_serve.errors import AuditBrokenError
from apsam_serve.service.audit import AuditLog
from apsam_serve.service.audit_chain import verify
from apsam_serve.service.calls import CallRecord

Lines = Sequence[bytes]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A log of a header and five records."""
    path = tmp_path_factory.mktemp("audit") / "sound.jsonl"
    log = AuditLog(path)
    log.open()
    for seconds in (0.01, 0.1, 1.0, 10.0, 1e-7):
        log.finished(
            CallRecord(
                **{"method": "Segment", "owner": "Zoë", "peer": "unix:"},
                **{"code": "OK", "reason": "", "seconds": seconds},
            )
        )
    log.close()
    return path.read_bytes()


@pytest.fixture
def log(tmp_path: Path, sound: bytes) -> Path:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(sound)
    return path


def last_hash(data: bytes) -> str:
    return str(json.loads(data.splitlines()[-1])["hash"])


def test_a_sound_log_is_described(
    log: Path, sound: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(log)]) == 0
    shown = capsys.readouterr().out
    assert "audit.jsonl: sound, 5 records" in shown
    assert f"last hash {last_hash(sound)}" in shown
    assert main(["verify", "--json", str(log)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["sound"]
    assert answer["files"][0]["num_records"] == 5


def test_whoever_watches_a_long_log_hears_how_far_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    log = AuditLog(path)
    log.open()
    record = CallRecord(
        **{"method": "Segment", "owner": "a", "peer": "unix:"},
        **{"code": "OK", "reason": "", "seconds": 0.1},
    )
    for _ in range(2500):
        log.finished(record)
    log.close()
    shares: list[float] = []
    verify(path, watch=shares.append)
    assert shares == sorted(shares)
    assert len(shares) == 3
    assert 0 < shares[0] < 0.1
    assert 0.7 < shares[-1] <= 1


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_any_byte_is_found_on_its_line(
    log: Path, sound: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(sound) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != sound[place]))
    log.write_bytes(sound[:place] + bytes([value]) + sound[place + 1 :])
    line = sound[:place].count(b"\n") + 1
    with pytest.raises(AuditBrokenError, match=rf"audit\.jsonl line {line} "):
        verify(log)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [*lines[:3], *lines[4:]], 4),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], 3),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4),
        (lambda lines: lines[1:], 1),
        (lambda lines: [], 1),
        (lambda lines: [*lines[:5], lines[5][:-1]], 6),
        (lambda lines: [*lines[:5], b"\n", lines[5]], 6),
    ],
    ids=["deleted", "reordered", "repeated", "headless", "emptied", "cut", "blank"],
)
def test_the_first_line_that_is_wrong_is_named(
    log: Path,
    sound: bytes,
    change: Callable[[Lines], Lines],
    line: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.write_bytes(b"".join(change(sound.splitlines(keepends=True))))
    assert main(["verify", str(log)]) == 1
    assert f"error: {log} line {line}" in capsys.readouterr().err


def test_a_record_changed_with_its_own_hash_breaks_the_next_line(log: Path, sound: bytes) -> None:
    lines = sound.splitlines(keepends=True)
    record = json.loads(lines[2])
    del record["hash"]
    record["owner"] = "somebody else"
    content = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    record["hash"] = hashlib.sha256(content).hexdigest()
    lines[2] = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    log.write_bytes(b"".join(lines))
    with pytest.raises(AuditBrokenError, match=r"line 4 .* lines were removed, added or moved"):
        verify(log)


def test_a_cut_end_is_seen_against_a_noted_hash(
    log: Path, sound: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = last_hash(sound)
    assert main(["verify", str(log), "--expect-hash", noted]) == 0
    log.write_bytes(b"".join(sound.splitlines(keepends=True)[:-1]))
    assert main(["verify", str(log)]) == 0
    assert main(["verify", str(log), "--expect-hash", noted]) == 1
    assert "the end was cut off, or all was written anew" in capsys.readouterr().err


def test_files_that_continue_one_another_are_checked_as_one(
    log: Path, record: Callable[..., CallRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [log.with_name(f"audit-{number}.jsonl") for number in (1, 2)]
    running = AuditLog(log)
    running.open()
    for name in names:
        log.rename(name)
        running.finished(record())
        running.flush()
    running.close()
    files = [str(path) for path in (*names, log)]
    assert main(["verify", *files]) == 0
    assert "continues the file that ends in" in capsys.readouterr().out
    assert main(["verify", files[0], files[2]]) == 1
    assert "one is missing, or give them in order" in capsys.readouterr().err
