"""The facade over a real channel: what it tells of itself, and what it answers."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Point, Prompt
from apsam_serve.kserve import open_inference_pb2 as pb
from apsam_serve.local import open_bundle
from apsam_serve.runtime.base import RunnerOptions
from apsam_serve.v1 import segmentation_pb2 as v1
from apsam_serve.v1 import segmentation_pb2_grpc as v1_grpc
from tests.serve.kserve import asking

ON_OBJECT = [[(20.0, 20.0)]]
ON_TWO = [[(20.0, 20.0), (12.0, 30.0)], [(58.0, 38.0), (50.0, 38.0)]]


def test_only_a_server_that_is_asked_to_loads_the_protocol() -> None:
    script = "import sys, apsam_serve.cli, apsam_serve.service.server as s; print([*sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "apsam_serve.service.server" in done.stdout, done.stderr
    assert "apsam_serve.kserve" not in done.stdout


def test_the_server_lives_is_ready_and_names_its_models(stub: Any) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="apsam_encode", version="1")).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="apsam_encode", version="2")).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="resnet")).ready
    assert "statistics" in stub.ServerMetadata(pb.ServerMetadataRequest()).extensions
    index = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
    assert [(model.name, model.state) for model in index] == [
        ("apsam_encode", "READY"),
        ("apsam_segment", "READY"),
    ]


@pytest.mark.parametrize("model", ["apsam_encode", "apsam_segment"])
def test_metadata_and_configuration_tell_the_same(stub: Any, model: str) -> None:
    metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name=model))
    config = stub.ModelConfig(pb.ModelConfigRequest(name=model, version="1")).config
    assert list(metadata.versions) == ["1"]
    assert config.max_batch_size == 0
    for told, configured in ((metadata.inputs, config.input), (metadata.outputs, config.output)):
        ours = [(t.name, t.datatype.replace("BYTES", "STRING"), list(t.shape)) for t in told]
        theirs = [
            (t.name, pb.DataType.Name(t.data_type).removeprefix("TYPE_"), list(t.dims))
            for t in configured
        ]
        assert ours == theirs


@pytest.mark.parametrize("strategy", ["direct", "apg"])
@pytest.mark.parametrize("form", ["HANDLE", "IMAGE", "FILE"])
def test_masks_are_those_of_the_bundle_in_process(
    stub: Any, tiny_bundle: Path, bag: NDArray[np.uint8], bag_png: bytes, form: str, strategy: str
) -> None:
    sent = asking.file(bag_png) if form == "FILE" else asking.image(bag)
    if form == "HANDLE":
        held = asking.arrays(stub.ModelInfer(asking.encode(sent)))
        assert held["SIZE"].tolist() == [60, 80]
        sent = asking.handle(held["HANDLE"][0])
    request = asking.segment(
        sent, asking.points(ON_TWO), asking.labels([[1, 1], [1, 0]]), strategy=strategy
    )
    found = asking.arrays(stub.ModelInfer(request))
    prompts = [
        Prompt(points=(Point(x=20, y=20), Point(x=12, y=30))),
        Prompt(points=(Point(x=58, y=38), Point(x=50, y=38, positive=False))),
    ]
    options = RunnerOptions(threads=1)
    image = open_bundle(tiny_bundle, backend="fake", options=options).encode(bag)
    expected = image.segment(prompts, strategy=strategy)  # type: ignore[arg-type]
    assert "CATEGORY" not in found
    for row, one in enumerate(expected):
        assert np.array_equal(found["MASK"][row], one.mask)
        assert found["SCORE"][row] == pytest.approx(one.score)
        assert found["BRANCH"][row] == one.branch.encode()
        for column, point in enumerate(one.points):
            assert found["POINTS"][row, column].tolist() == pytest.approx([point.x, point.y])
            assert found["LABELS"][row, column] == point.positive
        assert np.isnan(found["POINTS"][row, len(one.points) :]).all()
        assert (found["LABELS"][row, len(one.points) :] == -1).all()
    assert found["MASK"].any(axis=(1, 2)).all()


def test_points_of_an_answer_can_be_asked_again(stub: Any, bag: NDArray[np.uint8]) -> None:
    sent = asking.image(bag), asking.points([[(20, 20), (0, 0)]]), asking.labels([[1, -1]])
    first = asking.arrays(stub.ModelInfer(asking.segment(*sent)))
    assert first["POINTS"].shape == (1, 2, 2)
    again = asking.segment(
        asking.image(bag),
        asking.points(first["POINTS"]),
        asking.labels(first["LABELS"]),
        strategy="direct",
    )
    assert np.array_equal(asking.arrays(stub.ModelInfer(again))["MASK"], first["MASK"])


def test_typed_contents_mean_what_raw_contents_mean(stub: Any, bag: NDArray[np.uint8]) -> None:
    raw = asking.segment(asking.image(bag), asking.points(ON_TWO), asking.labels([[1, 1], [1, 0]]))
    typed = pb.ModelInferRequest()
    typed.CopyFrom(raw)
    del typed.raw_input_contents[:]
    typed.inputs[0].contents.uint_contents.extend(bag.ravel().tolist())
    typed.inputs[1].contents.fp32_contents.extend(np.ravel(ON_TWO).tolist())
    typed.inputs[2].contents.int_contents.extend([1, 1, 1, 0])
    ours, theirs = stub.ModelInfer(raw), stub.ModelInfer(typed)
    assert ours.raw_output_contents == theirs.raw_output_contents
    held = asking.arrays(stub.ModelInfer(asking.encode(asking.image(bag))))["HANDLE"][0]
    given = asking.encode(asking.handle(held), asking.points(ON_OBJECT))
    given.model_name = "apsam_segment"
    del given.raw_input_contents[:]
    given.inputs[0].contents.bytes_contents.append(held)
    given.inputs[1].contents.fp32_contents.extend([20, 20])
    assert asking.arrays(stub.ModelInfer(given))["MASK"].any()


def test_an_answer_has_what_was_asked_for_and_the_id(stub: Any, bag: NDArray[np.uint8]) -> None:
    sent = asking.image(bag), asking.points(ON_OBJECT)
    request = asking.segment(*sent, outputs=["BRANCH", "SCORE"], id="bag 7", model_version="1")
    response = stub.ModelInfer(request)
    assert list(asking.arrays(response)) == ["BRANCH", "SCORE"]
    assert (response.id, response.model_version) == ("bag 7", "1")
    assert len(response.parameters["model_digest"].string_param) == 64


def test_categories_are_answered_where_the_bundle_has_names(
    named_stub: Any, bag: NDArray[np.uint8]
) -> None:
    metadata = named_stub.ModelMetadata(pb.ModelMetadataRequest(name="apsam_segment"))
    assert metadata.outputs[-1].name == "CATEGORY"
    request = asking.segment(asking.image(bag), asking.points(ON_OBJECT), outputs=["CATEGORY"])
    found = asking.arrays(named_stub.ModelInfer(request))
    assert found["CATEGORY"][0] in (b"", b"Gun", b"Bullet", b"Laptop")


def test_statistics_count_answers_and_failures_and_where_the_time_went(
    stub: Any, bag: NDArray[np.uint8]
) -> None:
    def counted() -> Any:
        asked = pb.ModelStatisticsRequest(name="apsam_segment")
        return stub.ModelStatistics(asked).model_stats[0]

    before = counted()
    for _ in range(3):
        stub.ModelInfer(asking.segment(asking.image(bag), asking.points(ON_OBJECT)))
    with pytest.raises(grpc.RpcError):
        stub.ModelInfer(asking.segment(asking.handle(b"never-made"), asking.points(ON_OBJECT)))
    after = counted()
    stats, earlier = after.inference_stats, before.inference_stats
    assert (after.version, after.inference_count) == ("1", before.inference_count + 3)
    assert abs(after.last_inference - time.time() * 1000) < 60_000
    assert stats.fail.count == earlier.fail.count + 1
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        duration, was = getattr(stats, name), getattr(earlier, name)
        assert (duration.count, duration.ns > was.ns) == (was.count + 3, True)
    assert stats.success.ns > stats.compute_infer.ns
    assert after.batch_stats[0].compute_infer == stats.compute_infer
    assert len(stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats) == 2


def test_images_of_callers_that_have_gone_are_not_held(stub: Any, channel: grpc.Channel) -> None:
    other = v1_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]

    def num_held() -> int:
        (model,) = other.GetServerInfo(v1.GetServerInfoRequest()).models
        return int(model.num_embeddings)

    def num_failed() -> int:
        asked = pb.ModelStatisticsRequest(name="apsam_encode")
        return int(stub.ModelStatistics(asked).model_stats[0].inference_stats.fail.count)

    takes_long = cv2.imencode(".png", np.zeros((3000, 3000, 3), np.uint8))[1].tobytes()
    held, failed = num_held(), num_failed()
    for _ in range(3):
        call = stub.ModelInfer.future(asking.encode(asking.file(takes_long)))
        time.sleep(0.02)
        assert call.cancel()
    ends_s = time.monotonic() + 10
    while num_failed() < failed + 3 and time.monotonic() < ends_s:
        time.sleep(0.01)
    stub.ModelInfer(asking.encode(asking.file(takes_long)))  # comes after them
    assert (num_failed(), num_held()) == (failed + 3, held + 1)
