"""Where a request goes and how often, on a clock of its own."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from apsam_serve.client.calls import Calls
from apsam_serve.client.retries import Retries
from apsam_serve.client.routes import Routes
from apsam_serve.client.running import run
from apsam_serve.errors import (
    ApsamError,
    DeadlineExceededError,
    DeviceFaultError,
    InvalidInputError,
    NotServingError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitedError,
)
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.client.virtual import Network, away, bad_prompt, full, limited

OK = pb.SegmentResponse(width=4)


def asked(network: Network, calls: Calls) -> Any:
    request = pb.SegmentRequest(request_id="one")
    return run(calls.anywhere("Segment", request, calls.deadline_s()), network.do)


@pytest.mark.parametrize(
    ("outcomes", "pauses"),
    [
        ([OK], []),
        ([full(0.5), full(0.25), OK], [0.5, 0.25]),
        ([limited(2.0), OK], [2.0]),
        ([full(0.0), full(0.0), OK], [0.1, 0.2]),
        ([away(), away(), away(), OK], [0.1, 0.2, 0.4]),
    ],
    ids=["at once", "the server's delay", "its rate", "no delay told", "growing pauses"],
)
def test_a_refused_request_is_sent_again_after_its_pause(
    outcomes: list[Any], pauses: list[float]
) -> None:
    network = Network(script={"a": [*outcomes]})
    assert asked(network, network.calls()) == ("a", OK)
    assert [line for line in network.log if "pause" in line] == [f"pause {s:.3f}" for s in pauses]
    assert {request.request_id for request in network.requests} == {"one"}


def test_jitter_makes_pauses_longer_and_never_shorter() -> None:
    network = Network(script={"a": [full(0.4), OK]})
    asked(network, network.calls(chance=1.0, jitter=0.25))
    assert "pause 0.500" in network.log


@pytest.mark.parametrize(
    "error",
    [
        bad_prompt(),
        PermissionDeniedError("no"),
        DeadlineExceededError("late"),
        DeviceFaultError("broken"),
        ApsamError("?"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_would_fail_again_is_never_sent_again(error: ApsamError) -> None:
    network = Network(script={"a": [error], "b": [OK]})
    with pytest.raises(type(error)):
        asked(network, network.calls())
    assert network.log == ["a Segment"]


@pytest.mark.parametrize(
    ("outcome", "kind"), [(full(0.1), OverloadedError), (away(), NotServingError)]
)
def test_after_the_last_attempt_the_refusal_is_raised(
    outcome: ApsamError, kind: type[ApsamError]
) -> None:
    network = Network(script={"a": [outcome] * 9})
    with pytest.raises(kind):
        asked(network, network.calls(max_attempts=3))
    assert network.log.count("a Segment") == 3


def test_the_only_server_is_waited_for_while_it_restarts() -> None:
    network = Network(script={"a": [OK, *[away()] * 9, OK]})
    calls = network.calls(timeout_s=30.0)
    asked(network, calls)
    assert asked(network, calls) == ("a", OK)
    assert max(float(line.split()[1]) for line in network.log if "pause" in line) == 2


@pytest.mark.parametrize(
    ("script", "max_attempts"),
    [
        ({"a": [OK, *[away()] * 9], "b": [away()] * 9}, 4),
        ({"a": [OK, *[away()] * 9]}, 1),
    ],
    ids=["another may answer", "no retries"],
)
def test_a_server_is_given_up_where_waiting_is_not_wanted(
    script: dict[str, list[Any]], max_attempts: int
) -> None:
    network = Network(script=script)
    calls = network.calls(max_attempts=max_attempts)
    asked(network, calls)
    with pytest.raises(NotServingError):
        asked(network, calls)
    assert network.now_s < 2


def test_a_pause_that_would_outlast_the_deadline_is_not_begun() -> None:
    network = Network(script={"a": [full(0.4), full(0.4), OK]})
    with pytest.raises(OverloadedError, match="queue is full"):
        asked(network, network.calls(timeout_s=0.7))
    assert network.log == ["a Segment", "pause 0.400", "a Segment"]


def test_all_attempts_share_one_deadline() -> None:
    network = Network(script={"a": [full(0.5), away(), OK]})
    asked(network, network.calls(timeout_s=2.0))
    assert network.timeouts_s == pytest.approx([2.0, 1.49, 1.28])
    calls = network.calls(timeout_s=2.0)
    with pytest.raises(DeadlineExceededError, match=r"call took longer than 2\.0 s"):
        calls.left_s(network.now_s)


def test_several_servers_take_turns_and_one_attempt_asks_each_of_them() -> None:
    network = Network(script={"a": [OK, away(), OK], "b": [OK, full(0.3)], "c": [OK, OK]})
    calls = network.calls()
    assert [asked(network, calls)[0] for _ in range(3)] == ["a", "b", "c"]
    network.log.clear()
    assert asked(network, calls)[0] == "c"
    assert network.log == ["a Segment", "b Segment", "c Segment"]


def test_a_server_that_did_not_answer_is_asked_last_for_a_while() -> None:
    network = Network(script={"a": [away(), OK], "b": [OK, OK, OK, OK]})
    calls = network.calls()
    assert [asked(network, calls)[0] for _ in range(4)] == ["b"] * 4
    network.now_s += 5
    assert asked(network, calls)[0] == "a"


def test_a_server_that_stays_silent_is_asked_less_and_less() -> None:
    network = Network(script={"a": [away()] * 9, "b": [OK] * 2000})
    calls = network.calls()
    asked_at_s: list[float] = []
    while network.now_s < 200:
        asked(network, calls)
        if len(network.script["a"]) < 9 - len(asked_at_s):
            asked_at_s.append(network.now_s)
        network.now_s += 0.5
    steps = [round(late - early) for early, late in pairwise(asked_at_s)]
    assert steps[:5] == pytest.approx([5, 10, 20, 40, 60], abs=1)


def test_a_rate_limit_is_not_evaded_by_asking_the_next_server() -> None:
    network = Network(script={"a": [limited(1.0)], "b": [OK]})
    asked(network, network.calls())
    assert network.log == ["a Segment", "pause 1.000", "b Segment"]
    network = Network(script={"a": [limited(1.0)] * 4, "b": [limited(1.0)] * 4})
    with pytest.raises(RateLimitedError):
        asked(network, network.calls())


def test_a_full_server_tells_more_than_a_silent_one() -> None:
    network = Network(script={"a": [full(3.0)], "b": [full(2.0)], "c": [away()]})
    with pytest.raises(OverloadedError) as refused:
        asked(network, network.calls(max_attempts=1))
    assert refused.value.retry_after_s == 2.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Routes([]), "give HOST:PORT of at least one"),
        (lambda: Routes(["a", ""]), "give HOST:PORT of at least one"),
        (lambda: Retries(max_attempts=0), "max_attempts is 0; give 1 or more"),
        (lambda: Calls("a", timeout_s=0, retries=Retries()), "timeout_s is 0; give seconds"),
    ],
)
def test_settings_that_cannot_work_are_refused(build: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build()
