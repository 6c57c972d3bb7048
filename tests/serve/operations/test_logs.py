"""Log lines for programs and for people; none holds a call up."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apsam_serve.config import LogFormat
from apsam_serve.service import logs
from apsam_serve.service.calls import CallRecord
from apsam_serve.service.logs import Log, RequestLog

Record = Callable[..., CallRecord]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Stuck(io.StringIO):
    """A pipe that nobody reads until `read` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.read = threading.Event()

    def write(self, text: str) -> int:
        self.read.wait()
        return super().write(text)


class Broken(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def eventually(holds: Callable[[], bool], patience_s: float = 5) -> None:
    deadline_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


@pytest.fixture
def opened() -> Iterator[Callable[[io.StringIO], Log]]:
    """Logs that are open until the test has ended."""
    logs: list[Log] = []

    def start(stream: io.StringIO) -> Log:
        logs.append(Log("json", stream=stream))
        logs[-1].open()
        return logs[-1]

    yield start
    for log in logs:
        log.close()


def written(log_format: LogFormat, act: Callable[[], None], stream: io.StringIO) -> list[str]:
    log = Log(log_format, stream=stream)
    log.open()
    try:
        act()
    finally:
        log.close()
    return stream.getvalue().splitlines()


def as_json(act: Callable[[], None]) -> dict[str, Any]:
    (line,) = written("json", act, io.StringIO())
    loaded: dict[str, Any] = json.loads(line)
    return loaded


def fail() -> None:
    try:
        raise RuntimeError("no\nroom")
    except RuntimeError:
        logging.getLogger("apsam_serve.service").exception("incident %s", "4711")


def test_a_call_is_one_json_object(record: Record) -> None:
    given = record(num_bytes_in=10, num_bytes_out=20)
    line = as_json(lambda: RequestLog(trace_id=lambda: "f" * 32).finished(given))
    assert line.pop("ts").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "event": "request",
        "request_id": "0b6f",
        "method": "Segment",
        "code": "OK",
        "reason": "",
        "owner": "station-7",
        "peer": "ipv4:10.0.0.7:4242",
        "ms": 12.0,
        "num_bytes_in": 10,
        "num_bytes_out": 20,
        "embedding": "abcd1234.x",
        "model_digest": "2" * 64,
        "trace_id": "f" * 32,
    }


@pytest.mark.parametrize(
    ("code", "level"),
    [
        ("OK", "INFO"),
        ("CANCELLED", "INFO"),
        ("RESOURCE_EXHAUSTED", "WARNING"),
        ("INTERNAL", "ERROR"),
    ],
)
def test_the_level_follows_the_status(record: Record, code: str, level: str) -> None:
    assert as_json(lambda: RequestLog().finished(record(code=code)))["level"] == level


def test_other_lines_and_exceptions_are_json_too() -> None:
    line = as_json(fail)
    assert (line["level"], line["event"], line["message"]) == ("ERROR", "log", "incident 4711")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("RuntimeError: no\nroom")


def test_text_is_for_people(record: Record) -> None:
    (line,) = written("text", lambda: RequestLog().finished(record()), io.StringIO())
    assert line.startswith("apsam-serve: INFO: request request_id=0b6f method=Segment code=OK")
    assert "reason=" not in line
    lines = written("text", fail, io.StringIO())
    assert lines[0] == "apsam-serve: ERROR: incident 4711"
    assert lines[-2:] == ["RuntimeError: no", "room"]


def test_what_callers_choose_cannot_forge_a_line(record: Record) -> None:
    forged = record(request_id="1\napsam-serve: INFO: request owner=admin", owner="\x1b[2J")
    (line,) = written("text", lambda: RequestLog().finished(forged), io.StringIO())
    assert r"request_id=1\napsam-serve" in line
    assert r"owner=\x1b[2J" in line


@pytest.mark.parametrize(("stream", "first"), [(Terminal, "apsam-serve"), (io.StringIO, '{"ts"')])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(
    stream: type[io.StringIO], first: str
) -> None:
    (line,) = written("auto", lambda: logging.getLogger("x").info("hello"), stream())
    assert line.startswith(first)


def test_debug_lines_of_libraries_are_left_out() -> None:
    def speak() -> None:
        logging.getLogger("x").debug("noise")
        logging.getLogger("x").info("news")

    assert as_json(speak)["message"] == "news"


def test_a_stuck_reader_holds_no_call_up_and_what_is_dropped_is_counted(record: Record) -> None:
    stream = Stuck()
    log = Log("json", stream=stream, max_lines=10)
    log.open()
    requests = RequestLog()
    started_s = time.perf_counter()
    for _ in range(500):
        requests.finished(record())
    assert time.perf_counter() - started_s < 1
    stream.read.set()
    log.close()
    kept = len(stream.getvalue().splitlines())
    assert 10 <= kept <= 12
    assert log.num_dropped == 500 - kept


def test_a_reader_that_never_comes_back_does_not_keep_the_process(record: Record) -> None:
    stream = Stuck()
    log = Log("json", stream=stream, max_lines=1)
    log.open()
    for _ in range(5):
        RequestLog().finished(record())
    started_s = time.perf_counter()
    log.close()
    assert time.perf_counter() - started_s < 6
    stream.read.set()


def test_a_line_that_cannot_be_made_is_no_failure_of_its_caller(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert written("text", lambda: logging.getLogger("x").info("%d", "no"), io.StringIO()) == []
    assert "Logging error" in capsys.readouterr().err


def test_the_line_of_a_call_is_written_though_no_other_follows(
    opened: Callable[[io.StringIO], Log], record: Record
) -> None:
    stream = io.StringIO()
    opened(stream)
    for number in (1, 2):
        RequestLog().finished(record())
        eventually(lambda number=number: stream.getvalue().count("\n") == number)  # type: ignore[misc]


def test_other_lines_and_closing_do_not_wait_for_more_calls(
    opened: Callable[[io.StringIO], Log], record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_GATHER_S", 60)
    stream = io.StringIO()
    log = opened(stream)
    for num_lines in (2, 4):
        RequestLog().finished(record())
        logging.getLogger("x").info("news")
        eventually(lambda num_lines=num_lines: stream.getvalue().count("\n") == num_lines)  # type: ignore[misc]
    RequestLog().finished(record())
    log.close()
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["request", "log", "request", "log", "request"]


def test_a_line_that_cannot_be_made_later_is_counted_and_the_next_are_written(
    opened: Callable[[io.StringIO], Log], record: Record
) -> None:
    stream = io.StringIO()
    log = opened(stream)
    logging.getLogger("x").info("a name that others may use", extra={"call": 5})
    RequestLog().finished(record(request_id=5))
    RequestLog().finished(record())
    log.close()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "log",
        "request",
    ]
    assert log.num_dropped == 1


def test_a_reader_that_has_gone_makes_no_line_wait(
    opened: Callable[[io.StringIO], Log], record: Record
) -> None:
    log = opened(Broken())
    for _ in range(500):  # ten seconds, if each waited for the next
        RequestLog().finished(record())
    eventually(lambda: log.num_dropped == 500)


def test_closing_gives_the_root_logger_back() -> None:
    before = list(logging.getLogger().handlers)
    log = Log("json", stream=io.StringIO())
    log.open()
    assert logging.getLogger().handlers == [log]
    log.close()
    log.close()
    assert logging.getLogger().handlers == before
