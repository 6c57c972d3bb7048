"""What does not fit is refused in clear words, before anything is allocated; the server goes on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apsam_serve.kserve import open_inference_pb2 as pb
from apsam_serve.v1 import segmentation_pb2 as v1
from apsam_serve.v1 import segmentation_pb2_grpc as v1_grpc
from tests.serve.kserve import asking

BAG = np.full((60, 80, 3), 255, np.uint8)
CLICK = asking.points([[(20, 20)]])
Reason = tuple[str, str, str]


def refusal(stub: Any, request: pb.ModelInferRequest) -> Reason:
    """(status, reason, message)."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request, timeout=10)
    trailers = dict(caught.value.trailing_metadata())
    return caught.value.code().name, trailers.get("apsam-reason", ""), caught.value.details()


def changed(
    request: pb.ModelInferRequest, change: Callable[[pb.ModelInferRequest], Any]
) -> pb.ModelInferRequest:
    change(request)
    return request


def with_region(request: pb.ModelInferRequest) -> None:
    request.inputs[0].parameters["shared_memory_region"].string_param = "x"


def with_number(request: pb.ModelInferRequest) -> None:
    request.parameters["strategy"].int64_param = 1


def typed(values: list[int]) -> pb.ModelInferRequest:
    request = asking.encode(asking.tensor("IMAGE", "UINT8", [1, 1, 3], b""))
    del request.raw_input_contents[:]
    request.inputs[0].contents.uint_contents.extend(values)
    return request


INPUT = [
    (asking.request("resnet", asking.image(BAG)), "model 'resnet' is unknown; ask for apsam_enc"),
    (asking.encode(asking.image(BAG), model_version="2"), "has no version '2'; ask for '1'"),
    (asking.encode(asking.tensor("X", "UINT8", [1], b"x")), "input 'X' is unknown .* IMAGE, FILE"),
    (asking.encode(asking.image(BAG), asking.image(BAG)), "IMAGE was sent twice"),
    (asking.encode(asking.tensor("IMAGE", "FP32", [1, 1, 3], b"")), "'FP32'; send UINT8"),
    (asking.encode(asking.tensor("IMAGE", "UINT8", [1, 3], b"...")), r"shape \[1, 3\]; send \[-1"),
    (asking.encode(asking.tensor("IMAGE", "UINT8", [1, 1, 4], b"....")), r"send \[-1, -1, 3\]"),
    (asking.encode(asking.tensor("IMAGE", "UINT8", [-1, -1, 3], b"...")), r"shape \[-1, -1, 3\]"),
    (asking.encode(asking.tensor("IMAGE", "UINT8", [0, 9, 3], b"")), r"shape \[0, 9, 3\]"),
    (
        asking.encode(asking.tensor("IMAGE", "UINT8", [2**31, 2**31, 3], b"...")),
        "3 raw bytes; UINT8 .* has 13835058055282163712",
    ),
    (asking.encode(asking.tensor("FILE", "BYTES", [1], b"abc")), "FILE of 3 raw bytes is not one"),
    (asking.encode(asking.tensor("FILE", "BYTES", [1], b"\xff" * 9)), "its length in 4 bytes"),
    (changed(asking.encode(asking.image(BAG)), with_region), "'shared_memory_region', which"),
    (
        changed(asking.encode(asking.image(BAG)), lambda r: r.raw_input_contents.append(b"")),
        "1 inputs come with 2 raw_input_contents",
    ),
    (
        changed(asking.encode(asking.image(BAG)), lambda r: r.inputs[0].contents.SetInParent()),
        "contents beside raw_input_contents",
    ),
    (typed([1, 2]), "2 elements in uint_contents; UINT8 .* has 3"),
    (typed([1, 2, 256]), "elements that are no UINT8"),
    (asking.segment(asking.image(BAG)), "apsam_segment needs input POINTS"),
    (asking.segment(asking.image(BAG), CLICK, outputs=["BOX"]), "output 'BOX' is unknown .* MASK"),
    (asking.segment(asking.image(BAG), CLICK, outputs=["MASK", "MASK"]), "asked for twice"),
    (
        asking.segment(
            asking.image(BAG), CLICK, parameters={"sequence_id": pb.InferParameter(int64_param=1)}
        ),
        "parameter 'sequence_id' is unknown; give strategy",
    ),
    (
        asking.segment(
            asking.image(BAG), CLICK, parameters={"timeout": pb.InferParameter(string_param="9")}
        ),
        "timeout must be microseconds",
    ),
]
PROMPT = [
    (asking.segment(asking.image(BAG), CLICK, strategy="best"), "strategy 'best' is unknown"),
    (changed(asking.segment(asking.image(BAG), CLICK), with_number), "give the string 'apg'"),
    (asking.segment(asking.image(BAG), asking.points([[(1, 1)]] * 65)), "65 prompts of 1 points"),
    (asking.segment(asking.image(BAG), asking.points([[(1, 1)] * 17])), "1 prompts of 17 points"),
    (
        asking.segment(asking.image(BAG), CLICK, asking.labels([[1, 1]])),
        r"LABELS has shape \[1, 2\]; POINTS needs \[1, 1\]",
    ),
    (asking.segment(asking.image(BAG), CLICK, asking.labels([[7]])), "LABELS holds 7; give 1"),
    (asking.segment(asking.image(BAG), CLICK, asking.labels([[-1]])), "0 points and no box"),
    (asking.segment(asking.image(BAG), asking.points([[(500, 1)]])), "lies outside the image"),
    (asking.segment(asking.image(BAG), asking.points([[(np.nan, 1)]])), "is not a number"),
]
IMAGE = [
    (asking.encode(), "request has no image; send one of"),
    (asking.segment(CLICK), "request has no image; send one of HANDLE, IMAGE and FILE"),
    (asking.segment(CLICK, asking.image(BAG), asking.handle(b"x")), "has HANDLE and IMAGE; send"),
    (asking.encode(asking.file(b"no image at all")), "send a PNG, JPEG or TIFF file"),
    (asking.encode(asking.file(b"")), "0 bytes"),
]


@pytest.mark.parametrize(
    ("request_", "reason", "message"),
    [
        *((request, "INVALID_INPUT", message) for request, message in INPUT),
        *((request, "INVALID_PROMPT", message) for request, message in PROMPT),
        *((request, "INVALID_IMAGE", message) for request, message in IMAGE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused_in_clear_words(
    stub: Any, request_: pb.ModelInferRequest, reason: str, message: str
) -> None:
    code, named, text = refusal(stub, request_)
    assert (code, named) == ("INVALID_ARGUMENT", reason)
    assert re.search(message, text), text


def test_a_handle_that_is_gone_says_why(stub: Any, channel: grpc.Channel) -> None:
    for foreign in (b"never-made", b"\xff\xfe"):
        gone = refusal(stub, asking.segment(asking.handle(foreign), CLICK))
        assert gone[:2] == ("NOT_FOUND", "OWNER_LOST")
    handle = asking.arrays(stub.ModelInfer(asking.encode(asking.image(BAG))))["HANDLE"][0]
    other = v1_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
    assert other.DeleteEmbedding(v1.DeleteEmbeddingRequest(handle=handle.decode())).deleted
    gone = refusal(stub, asking.segment(asking.handle(handle), CLICK))
    assert gone[:2] == ("NOT_FOUND", "DELETED")


def test_masks_that_no_message_can_carry_are_refused_before_the_work(
    stub: Any, channel: grpc.Channel
) -> None:
    large = asking.image(np.zeros((1000, 2000, 3), np.uint8))
    clicks = asking.points([[(20, 20)]] * 16)
    handle = asking.arrays(stub.ModelInfer(asking.encode(large)))["HANDLE"][0]
    for source in (large, asking.handle(handle)):
        code, reason, message = refusal(stub, asking.segment(source, clicks))
        assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_INPUT")
        assert "MASK [16, 1000, 2000] makes a response of" in message
        scores = stub.ModelInfer(asking.segment(source, clicks, outputs=["SCORE"]))
        assert asking.arrays(scores)["SCORE"].shape == (16,)


def test_a_timeout_in_the_parameters_is_a_deadline(stub: Any) -> None:
    late = asking.encode(
        asking.image(BAG), parameters={"timeout": pb.InferParameter(int64_param=1)}
    )
    assert refusal(stub, late)[:2] == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_what_is_asked_about_other_models_is_refused(stub: Any, method: str) -> None:
    asked = {"ModelMetadata": pb.ModelMetadataRequest, "ModelConfig": pb.ModelConfigRequest}
    kind = asked.get(method, pb.ModelStatisticsRequest)
    with pytest.raises(grpc.RpcError, match="model 'resnet' is unknown") as caught:
        getattr(stub, method)(kind(name="resnet"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@given(
    name=st.sampled_from(["IMAGE", "FILE", "HANDLE", "POINTS", "LABELS", "x"]),
    datatype=st.sampled_from(["UINT8", "BYTES", "FP32", "INT32", "", "BOOL"]),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 4), max_size=4),
    raw=st.binary(max_size=64),
    click=st.tuples(st.floats(width=32), st.floats(width=32)),
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_tensors_get_an_answer_or_a_reason(
    stub: Any, name: str, datatype: str, shape: list[int], raw: bytes, click: tuple[float, float]
) -> None:
    extra = asking.tensor(name, datatype, shape, raw)
    for request in (
        asking.encode(extra),
        asking.segment(extra, asking.points([[click]])),
        asking.segment(asking.image(BAG), asking.points([[click]]), extra),
    ):
        code = stub.ModelInfer.future(request, timeout=10).code()
        assert code.name in {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}, request
    assert stub.ServerLive(pb.ServerLiveRequest()).live


@given(raw=st.binary(max_size=200))
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_bytes_are_refused_without_a_word_of_the_internals(
    channel: grpc.Channel, raw: bytes
) -> None:
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        call(raw, timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Error" not in caught.value.details()
