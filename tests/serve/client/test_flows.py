"""What follows a loss: encoding again, once, and never behind the caller's back for a mask."""

from __future__ import annotations

import pytest

from apsam_serve.client.flows import Flows
from apsam_serve.client.held import Held
from apsam_serve.client.requests import FASTEST, propose_request, segment_request
from apsam_serve.client.running import run
from apsam_serve.contract.prompts import Prompt
from apsam_serve.errors import ApsamError, HandleGoneError, MaskGoneError, NotServingError
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.client.virtual import (
    Network,
    away,
    bad_prompt,
    created,
    full,
    gone,
    mask_gone,
    segmented,
)

IMAGE = pb.Image(file=b"picture")
REASONS = ("UNKNOWN", "EXPIRED", "EVICTED", "DELETED", "OWNER_LOST", "MODEL_CHANGED")


def click(mask_id: str = "") -> pb.SegmentRequest:
    prompt = Prompt(points=Prompt.click(1, 1).points, mask_id=mask_id)
    return segment_request([prompt], "apg", None, FASTEST)


def encoded(network: Network, flows: Flows, ttl_s: float | None = None) -> Held:
    held = run(flows.encode(IMAGE, ttl_s), network.do)
    network.log.clear()
    return held


@pytest.mark.parametrize("reason", REASONS)
def test_a_lost_image_is_encoded_again_and_asked_again(reason: str) -> None:
    network = Network(script={"a": [created("h1"), gone(reason), created("h2"), segmented()]})
    flows = Flows(network.calls())
    held = encoded(network, flows, ttl_s=7)
    (answer,) = run(flows.segment_held(held, click()), network.do)
    assert network.log == ["a Segment", "a CreateEmbedding", "a Segment"]
    assert (held.place.embedding.handle, answer.mask_id) == ("h2", "h2/0")
    first, lost, again, asked = network.requests
    assert again.image == IMAGE
    assert again.ttl.seconds == 7
    assert asked.handle == "h2"
    assert len({one.request_id for one in (first, lost, again, asked)}) == 4


def test_an_image_that_is_lost_twice_in_one_call_is_an_error() -> None:
    network = Network(script={"a": [created("h1"), gone(), created("h2"), gone("EXPIRED")]})
    flows = Flows(network.calls())
    held = encoded(network, flows)
    with pytest.raises(HandleGoneError) as lost:
        run(flows.propose_held(held, propose_request(None, "apg", None, FASTEST)), network.do)
    assert lost.value.reason == "EXPIRED"
    assert network.log == ["a Propose", "a CreateEmbedding", "a Propose"]


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        (None, "update the server"),
        (pb.AttentionMap(height=2, width=2, data=bytes(15)), "of 15 bytes is no map of 2 x 2"),
        (pb.AttentionMap(), "no map of 0 x 0"),
    ],
)
def test_a_server_that_tells_no_attention_is_told_apart(
    attention: pb.AttentionMap | None, message: str
) -> None:
    network = Network(script={"a": [created("h1"), pb.ProposeResponse(attention=attention)]})
    flows = Flows(network.calls())
    with pytest.raises(ApsamError, match=message):
        run(flows.attention_held(encoded(network, flows)), network.do)


def test_encoding_again_waits_for_room_within_the_same_deadline() -> None:
    script = [created("h1"), gone(), full(1.0), created("h2"), segmented()]
    network = Network(script={"a": script})
    flows = Flows(network.calls(timeout_s=5))
    held = encoded(network, flows)
    run(flows.segment_held(held, click()), network.do)
    assert "pause 1.000" in network.log
    assert network.timeouts_s[-1] == pytest.approx(3.97)


@pytest.mark.parametrize("error", [mask_gone(), bad_prompt()])
def test_a_lost_mask_and_a_bad_prompt_are_the_callers(error: ApsamError) -> None:
    network = Network(script={"a": [created("h1"), segmented(), error]})
    flows = Flows(network.calls())
    held = encoded(network, flows)
    (answer,) = run(flows.segment_held(held, click()), network.do)
    with pytest.raises(type(error)):
        run(flows.segment_held(held, click(answer.mask_id)), network.do)
    assert network.requests[-1].prompts[0].mask_id == "0"
    assert network.log == ["a Segment", "a Segment"]


def test_a_mask_that_was_lost_with_its_image_is_not_mistaken_for_a_new_one() -> None:
    script = [created("h1"), segmented(), gone(), created("h2"), segmented(), segmented(["1"])]
    network = Network(script={"a": script})
    flows = Flows(network.calls())
    held = encoded(network, flows)
    (old,) = run(flows.segment_held(held, click()), network.do)
    with pytest.raises(MaskGoneError, match="image h1 was lost with its masks"):
        run(flows.segment_held(held, click(old.mask_id)), network.do)
    assert network.log == ["a Segment", "a Segment", "a CreateEmbedding"]
    (new,) = run(flows.segment_held(held, click()), network.do)
    with pytest.raises(MaskGoneError, match="'h1/0' is none of image h2"):
        run(flows.segment_held(held, click(old.mask_id)), network.do)
    (refined,) = run(flows.segment_held(held, click(new.mask_id)), network.do)
    assert refined.mask_id == "h2/1"


def test_questions_go_to_the_owner_and_new_images_go_round() -> None:
    script = {
        "a": [created("a1"), created("a2")],
        "b": [created("b1", server_address="owner"), segmented()],
        "owner": [segmented(), segmented()],
    }
    network = Network(script=script)
    flows = Flows(network.calls())
    flows.calls.routes.addresses = ("a", "b")
    held = [run(flows.encode(IMAGE, None), network.do) for _ in range(3)]
    network.log.clear()
    for _ in range(2):
        run(flows.segment_held(held[1], click()), network.do)
    assert [one.place.address for one in held] == ["a", "owner", "a"]
    assert network.log == ["owner Segment", "owner Segment"]


def test_an_owner_that_is_away_for_good_is_replaced_by_another_server() -> None:
    script = {"a": [created("a1"), *[away()] * 3], "b": [created("b1"), segmented()]}
    network = Network(script=script)
    flows = Flows(network.calls(max_attempts=3))
    held = encoded(network, flows)
    (answer,) = run(flows.segment_held(held, click()), network.do)
    expected = ["a Segment", "pause 0.100", "a Segment", "pause 0.200", "a Segment"]
    assert network.log == [*expected, "b CreateEmbedding", "b Segment"]
    assert answer.mask_id == "b1/0"


def test_the_only_server_has_no_replacement() -> None:
    network = Network(script={"a": [created("a1"), *[away()] * 9]})
    flows = Flows(network.calls(max_attempts=2, timeout_s=5.0))
    held = encoded(network, flows)
    with pytest.raises(NotServingError):
        run(flows.segment_held(held, click()), network.do)


def test_a_released_image_is_asked_nothing_and_released_once() -> None:
    network = Network(script={"a": [created("a1"), pb.DeleteEmbeddingResponse(deleted=True)]})
    flows = Flows(network.calls())
    held = encoded(network, flows)
    assert [run(flows.release(held), network.do) for _ in range(2)] == [True, False]
    assert network.log == ["a DeleteEmbedding"]
    with pytest.raises(HandleGoneError, match="was released") as lost:
        run(flows.segment_held(held, click()), network.do)
    assert lost.value.reason == "DELETED"


def test_release_does_not_mind_a_server_that_is_away() -> None:
    network = Network(script={"a": [created("a1"), away()]})
    flows = Flows(network.calls())
    held = encoded(network, flows)
    assert not run(flows.release(held), network.do)
    assert network.log == ["a DeleteEmbedding"]


def test_what_is_known_of_a_lost_image_is_that_it_is_lost() -> None:
    network = Network(script={"a": [created("a1"), gone("EXPIRED")]})
    flows = Flows(network.calls())
    held = encoded(network, flows)
    with pytest.raises(HandleGoneError):
        run(flows.info(held), network.do)
    assert network.log == ["a GetEmbedding"]


def test_renewing_a_lost_image_encodes_it_with_the_new_life() -> None:
    renewed = pb.RenewEmbeddingResponse(embedding=created("a2").embedding)
    network = Network(script={"a": [created("a1"), gone(), created("a2"), renewed]})
    flows = Flows(network.calls())
    held = encoded(network, flows)
    assert run(flows.renew(held, 60.0), network.do).handle == "a2"
    assert network.requests[2].ttl.seconds == 60


@pytest.mark.parametrize(
    ("answers", "serving"),
    [(["\x08\x01"], True), (["\x08\x02"], False), (["\x08\x02", "\x08\x01"], True)],
)
def test_any_serving_server_makes_the_service_serve(answers: list[str], serving: bool) -> None:
    script = {str(n): [answer.encode()] for n, answer in enumerate(answers)}
    network = Network(script={**script, "dead": [away()]})
    flows = Flows(network.calls())
    assert run(flows.is_serving(None), network.do) is serving
    network.script["dead"] = [away()]
    with pytest.raises(NotServingError, match="no server answers"):
        run(flows.is_serving("dead"), network.do)
