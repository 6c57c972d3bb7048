"""Connections that do not speak HTTP/2, or speak it badly: they get an answer or the door, and the
server has lost nothing when they are gone."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.reliability.asking import ask, click, connect, hold
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import report, scaled
from tests.serve.reliability.raw_http2 import ANSWERED, ATTACKS, answer_to
from tests.serve.reliability.rest import Rest
from tests.serve.reliability.server_process import ServerProcess

NUM_CONNECTIONS = scaled(short=300, full=5000)
NUM_WORKERS = 8
ANSWER_S = scaled(short=5.0, full=2.0)
PATIENCE_S = 0.03
"""For attacks to which there need not be an answer."""


def test_broken_connections_get_an_answer_or_the_door(launch: Launch, bag_png: bytes) -> None:
    server = launch()
    channel, stub = connect(server.address)
    with channel:
        handle = hold(stub, bag_png)
        _attack(server, num=60)
    before = Rest.of(server)
    started = time.monotonic()
    answers = _attack(server, num=NUM_CONNECTIONS)
    seconds = time.monotonic() - started
    settled_s = before.require_again(server, timeout_s=30)
    kinds = Counter(answer for (_, answer), count in answers.items() for _ in range(count))
    report(
        "hostile_frames",
        num=answers.total(),
        per_s=answers.total() / seconds,
        settled_s=settled_s,
        **{f"num_{kind}": count for kind, count in kinds.items()},
    )
    assert answers.total() == NUM_CONNECTIONS
    for attack in ATTACKS:
        assert sum(count for (known, _), count in answers.items() if known == attack) > 3
    silent = {attack for attack, answer in answers if answer == "silence"}
    assert not silent & ANSWERED, answers
    assert server.alive
    assert server.health() == "SERVING"
    channel, stub = connect(server.address)
    with channel:
        outcome = ask(stub.Segment, click(handle))
        assert outcome.code == "OK", outcome
        assert stub.GetServerInfo(pb.GetServerInfoRequest()).models


def _attack(server: ServerProcess, *, num: int) -> Counter[tuple[str, str]]:
    """(attack, answer) of so many connections."""
    host, _, port = server.address.rpartition(":")
    names = sorted(ATTACKS)
    answers: Counter[tuple[str, str]] = Counter()
    counting = threading.Lock()

    def one(seed: int) -> None:
        chance = random.Random(seed)
        name = names[seed % len(names)]
        with socket.create_connection((host, int(port)), timeout=ANSWER_S) as connection:
            try:
                connection.sendall(ATTACKS[name](chance))
                connection.settimeout(ANSWER_S if name in ANSWERED else PATIENCE_S)
                answer = str(answer_to(connection))
            except ConnectionError:  # the server hung up while it was sent
                answer = "closed"
        with counting:
            answers[name, answer] += 1

    with ThreadPoolExecutor(NUM_WORKERS) as workers:
        list(workers.map(one, range(num)))
    return answers
