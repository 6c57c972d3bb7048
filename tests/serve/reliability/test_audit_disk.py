"""An audit log whose disk is full: nothing is answered that cannot be recorded, and nothing that
was answered is missing from the record."""

from __future__ import annotations

import json
import resource
import time
from collections import Counter
from pathlib import Path

from apsam_serve.service.audit_chain import verify
from tests.serve.reliability.asking import ask, check_declared, click, connect, hold
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import BUSY, report, scaled
from tests.serve.reliability.server_process import ServerProcess, until

REFUSED = "UNAVAILABLE/AUDIT_FAILED"
ROOM_BYTES = 1000
"""Left on the disk: for a record or two, and half of another."""


def test_a_full_disk_stops_all_answers_and_the_chain_holds(
    launch: Launch, bag_png: bytes, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    server = launch("--audit-log", str(log))
    ends: Counter[str] = Counter()
    stopped_s, back_s = [], []
    channel, stub = connect(server.address)
    with channel:
        handle = hold(stub, bag_png)

        def asked() -> str:
            outcome = ask(stub.Segment, click(handle))
            check_declared(outcome)
            ends[outcome.label] += 1
            return outcome.label

        for _ in range(scaled(short=1, full=5)):
            assert asked() == "OK"
            _fill_disk(server, log)
            stopped_s.append(until(lambda: asked() == REFUSED, "refusals"))
            until(lambda: server.health() == "NOT_SERVING", "NOT_SERVING")
            assert server.metric("apsam_audit_failed") == 1
            for _ in range(20):
                assert asked() == REFUSED
            time.sleep(0.2)
            _free_disk(server)
            back_s.append(until(lambda: server.health() == "SERVING", "SERVING"))
            assert asked() == "OK"
    server.terminate()
    assert server.wait(10) == 0
    chain = verify(log)
    lines = [json.loads(line) for line in log.read_text("ascii").splitlines()[1:]]
    recorded = Counter(line["code"] for line in lines if line["method"] == "Segment")
    report(
        "audit_disk_full",
        num_answered=ends["OK"],
        num_recorded=recorded["OK"],
        num_refused=ends[REFUSED],
        refused_after_max_s=max(stopped_s),
        serving_again_max_s=max(back_s),
        num_records=chain.num_records,
    )
    assert ends.keys() == {"OK", REFUSED}
    assert recorded["OK"] == ends["OK"]
    assert max(stopped_s) < 1.0 * BUSY
    assert max(back_s) < 2.5 * BUSY


def _fill_disk(server: ServerProcess, log: Path) -> None:
    """No file of the server may grow beyond the log's size and a little."""
    _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    room = log.stat().st_size + ROOM_BYTES
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (room, most))


def _free_disk(server: ServerProcess) -> None:
    _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))
