"""A session of Triton's own Python client, in its environment: `triton_session.py HOST:PORT`."""

from __future__ import annotations

import sys
import time

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        _look_around(client)
        handle = _encode(client)
        _segment(client, handle)
        _fail(client, handle)
        _count(client)
    print(
        "live, ready, metadata, configuration, index; encode, segment by handle and by image, "
        "strategy, chosen outputs; a gone handle, a click outside, client_timeout; statistics"
    )


def _look_around(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("apsam_encode")
    assert not client.is_model_ready("no_such_model")
    assert client.get_server_metadata().name == "apsam-serve"
    metadata = client.get_model_metadata("apsam_segment", "1")
    assert {"POINTS", "HANDLE", "IMAGE", "FILE"} <= {tensor.name for tensor in metadata.inputs}
    assert client.get_model_config("apsam_encode").config.max_batch_size == 0
    assert len(client.get_model_repository_index().models) == 2


def _bag() -> np.ndarray:
    image = np.full((60, 80, 3), 255, np.uint8)
    image[10:40, 10:40] = (40, 60, 90)
    return image


def _tensor(name: str, values: np.ndarray, datatype: str) -> triton.InferInput:
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


def _points() -> triton.InferInput:
    return _tensor("POINTS", np.array([[[25, 25]], [[15, 30]]], np.float32), "FP32")


def _encode(client: triton.InferenceServerClient) -> np.ndarray:
    answer = client.infer("apsam_encode", [_tensor("IMAGE", _bag(), "UINT8")], request_id="7")
    assert answer.get_response().id == "7"
    assert answer.as_numpy("SIZE").tolist() == [60, 80]
    return answer.as_numpy("HANDLE")


def _segment(client: triton.InferenceServerClient, handle: np.ndarray) -> None:
    given = [_tensor("HANDLE", handle, "BYTES"), _points()]
    answer = client.infer("apsam_segment", given)
    masks, points = answer.as_numpy("MASK"), answer.as_numpy("POINTS")
    assert masks.dtype == np.bool_
    assert masks.shape == (2, 60, 80)
    assert masks.any(axis=(1, 2)).all()
    assert points.shape == (2, 2, 2)
    assert answer.as_numpy("BRANCH").tolist() == [b"clusters"] * 2
    sent_along = client.infer("apsam_segment", [_tensor("IMAGE", _bag(), "UINT8"), _points()])
    assert np.array_equal(sent_along.as_numpy("MASK"), masks)
    direct = client.infer(
        "apsam_segment",
        [*given, _tensor("LABELS", np.ones((2, 1), np.int32), "INT32")],
        outputs=[triton.InferRequestedOutput("SCORE"), triton.InferRequestedOutput("BRANCH")],
        parameters={"strategy": "direct"},
    )
    assert direct.as_numpy("BRANCH").tolist() == [b"direct"] * 2
    assert direct.as_numpy("MASK") is None


def _fail(client: triton.InferenceServerClient, handle: np.ndarray) -> None:
    gone = _tensor("HANDLE", np.array([b"never-made"], object), "BYTES")
    _refused(client, [gone, _points()], "StatusCode.NOT_FOUND")
    outside = _tensor("POINTS", np.array([[[500, 1]]], np.float32), "FP32")
    _refused(client, [_tensor("HANDLE", handle, "BYTES"), outside], "StatusCode.INVALID_ARGUMENT")
    late = [_tensor("HANDLE", handle, "BYTES"), _points()]
    _refused(client, late, "StatusCode.DEADLINE_EXCEEDED", client_timeout=1e-5)
    assert client.is_server_ready()


def _refused(
    client: triton.InferenceServerClient,
    inputs: list[triton.InferInput],
    status: str,
    client_timeout: float | None = None,
) -> None:
    found = "OK"
    try:
        client.infer("apsam_segment", inputs, client_timeout=client_timeout)
    except InferenceServerException as error:
        found = error.status()
    assert found == status, f"{found}, and {status} was expected"


def _count(client: triton.InferenceServerClient) -> None:
    def num_answers() -> int:
        statistics = client.get_inference_statistics("apsam_encode").model_stats[0]
        assert statistics.inference_stats.compute_infer.ns > 0
        return int(statistics.inference_stats.queue.count)

    before, started = num_answers(), time.monotonic()
    for _ in range(20):
        client.infer("apsam_encode", [_tensor("IMAGE", _bag(), "UINT8")])
    seconds = time.monotonic() - started
    assert num_answers() >= before + 20
    print(f"20 images in {seconds:.2f} s, one after the other")


if __name__ == "__main__":
    main(sys.argv[1])
