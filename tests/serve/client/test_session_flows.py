"""A session's steps: what a broken stream, a lost image and a full server lead to."""

from __future__ import annotations

import pytest

from apsam_serve.client.requests import FASTEST, propose_request, segment_request
from apsam_serve.client.running import run
from apsam_serve.client.session_flows import SessionFlows
from apsam_serve.contract.prompts import Prompt
from apsam_serve.errors import ApsamError, InvalidInputError, MaskGoneError, NotServingError
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.client.virtual import (
    Network,
    Outcome,
    away,
    bad_prompt,
    created,
    full,
    gone,
    segmented,
)

IMAGE = pb.Image(file=b"picture")


def shown(handle: str) -> pb.SessionResponse:
    return pb.SessionResponse(embedding=created(handle))


def answered(mask_id: str = "0") -> pb.SessionResponse:
    return pb.SessionResponse(segmentations=segmented([mask_id]))


def click(mask_id: str = "") -> pb.SegmentRequest:
    prompt = Prompt(points=Prompt.click(1, 1).points, mask_id=mask_id)
    return segment_request([prompt], "direct", None, FASTEST)


def opened(**script: list[Outcome]) -> tuple[Network, SessionFlows]:
    """A session whose first server has answered an image with handle h1."""
    network = Network(script=script)
    session = SessionFlows(network.calls(timeout_s=5))
    assert run(session.image(IMAGE), network.do).handle == "h1"
    return network, session


def test_steps_share_one_stream_and_carry_their_own_timeout() -> None:
    proposals = pb.SessionResponse(proposals=pb.ProposeResponse())
    network, session = opened(a=[shown("h1"), answered("3"), answered(), proposals])
    (answer,) = run(session.segment(click()), network.do)
    run(session.segment(click(answer.mask_id)), network.do)
    assert run(session.propose(propose_request(None, "apg", None, FASTEST)), network.do) == []
    assert network.log == ["a opens", "a image", "a segment", "a segment", "a propose"]
    assert answer.mask_id == "h1/3"
    assert network.requests[2].segment.prompts[0].mask_id == "3"
    assert [request.timeout.seconds for request in network.requests] == [5] * 4


@pytest.mark.parametrize("fault", [bad_prompt(), ApsamError("?")])
def test_a_step_that_fails_leaves_the_stream_and_its_image(fault: ApsamError) -> None:
    network, session = opened(a=[shown("h1"), fault, answered()])
    with pytest.raises(type(fault)):
        run(session.segment(click()), network.do)
    run(session.segment(click()), network.do)
    assert network.log[2:] == ["a segment", "a segment"]


def test_a_full_server_is_asked_again_in_the_same_stream() -> None:
    network, session = opened(a=[shown("h1"), full(0.7), answered()])
    run(session.segment(click()), network.do)
    assert network.log[2:] == ["a segment", "pause 0.700", "a segment"]


def test_a_broken_stream_is_opened_at_another_server_with_the_same_image() -> None:
    network, session = opened(a=[shown("h1"), away()], b=[shown("h2"), answered()])
    (answer,) = run(session.segment(click()), network.do)
    expected = ["a segment", "pause 0.100", "b opens", "b image", "b segment"]
    assert network.log[2:] == expected
    assert (answer.mask_id, network.requests[-2].image) == ("h2/0", IMAGE)


def test_a_mask_does_not_survive_a_broken_stream() -> None:
    network, session = opened(a=[shown("h1"), answered(), away(), shown("h2")])
    (answer,) = run(session.segment(click()), network.do)
    with pytest.raises(MaskGoneError):
        run(session.segment(click(answer.mask_id)), network.do)


def test_an_evicted_image_is_sent_again_once() -> None:
    network, session = opened(a=[shown("h1"), gone(), shown("h2"), answered()])
    run(session.segment(click()), network.do)
    assert network.log[2:] == ["a segment", "a image", "a segment"]


def test_nobody_there_is_an_error_after_the_last_attempt() -> None:
    network = Network(script={"a": [away()] * 4})
    session = SessionFlows(network.calls())
    with pytest.raises(NotServingError):
        run(session.image(IMAGE), network.do)
    assert network.log.count("a opens") == 4


def test_a_session_without_image_says_so() -> None:
    network = Network(script={"a": []})
    with pytest.raises(InvalidInputError, match="session has no image yet"):
        run(SessionFlows(network.calls()).segment(click()), network.do)
