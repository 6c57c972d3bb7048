"""ONNX Runtime: it checks what it loads, never runs elsewhere than asked, and runs on addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from apsam_serve.contract.manifest import (
    GraphSpec,
    ModelSpec,
    TensorSpec,
    open_bundle,
    write_manifest,
)
from apsam_serve.errors import (
    ApsamError,
    BackendUnavailableError,
    BundleError,
    DeviceFaultError,
    InvalidInputError,
    OutOfMemoryError,
)
from apsam_serve.ops.recordings import without_recordings
from apsam_serve.runtime import sessions
from apsam_serve.runtime.base import RunnerOptions
from apsam_serve.runtime.onnxruntime import OnnxRuntimeRunner, create
from apsam_serve.runtime.sessions import Session, elsewhere, failure, provider_options, refusal
from tests.serve.runtime.host_device import (
    Call,
    HostDevice,
    answers_of,
    as_arguments,
    frames,
    prompts,
)

ONE = RunnerOptions(threads=1)


@pytest.fixture
def runner(tiny_bundle: Path) -> Iterator[OnnxRuntimeRunner]:
    made = create(open_bundle(tiny_bundle), replace(ONE, on_device=True))
    made.open()
    yield made
    made.close()


@pytest.fixture
def device() -> HostDevice:
    return HostDevice()


def append(folder: Path, *nodes: onnx.NodeProto, **constants: object) -> None:
    """Put nodes before the embedding of a bundle, which they take as "before"."""
    model = onnx.load(folder / "image_encoder.onnx")
    model.graph.node[-1].output[0] = "before"
    model.graph.node.extend(nodes)
    made = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    model.graph.initializer.extend(made)
    resign(folder, "image_encoder.onnx", model.SerializeToString())


def resign(folder: Path, file: str, data: bytes) -> None:
    """Replace one file of a bundle and hash it again, as a careless exporter would."""
    manifest = open_bundle(folder).manifest
    (folder / file).write_bytes(data)
    write_manifest(folder, replace(manifest, files={}))


def test_a_missing_device_stops_the_start_and_lists_what_exists(tiny_bundle: Path) -> None:
    runner = create(open_bundle(tiny_bundle), RunnerOptions(device="tpu"))
    with pytest.raises(BackendUnavailableError, match=r"cannot run on device 'tpu'.*offers.*cpu"):
        runner.open()


def test_a_graph_of_another_shape_is_refused(fresh_bundle: Path) -> None:
    graph = onnx.load(fresh_bundle / "image_encoder.onnx")
    graph.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    resign(fresh_bundle, "image_encoder.onnx", graph.SerializeToString())
    message = r"image_encoder.onnx: output .* 'embedding' is float32 \[1, .*expected float32 \['B'"
    with pytest.raises(BundleError, match=message):
        create(open_bundle(fresh_bundle), ONE).open()


def test_a_manifest_that_promises_other_tensors_is_refused(fresh_bundle: Path) -> None:
    manifest = open_bundle(fresh_bundle).manifest
    wrong = GraphSpec(
        file="image_encoder.onnx",
        inputs=(TensorSpec(name="pixels", dtype="uint8", shape=("B", 64, 64, 3)),),
        outputs=manifest.builds["fp32"].graphs["image_encoder"].outputs,
    )
    build = manifest.builds["fp32"]
    graphs = {**build.graphs, "image_encoder": wrong}
    builds = {"fp32": replace(build, graphs=graphs)}
    write_manifest(fresh_bundle, replace(manifest, builds=builds, files={}))
    with pytest.raises(BundleError, match=r"manifest.json: input .*\['pixels'\]; expected"):
        create(open_bundle(fresh_bundle), ONE).open()


def test_a_graph_that_names_no_categories_though_the_manifest_does_is_refused(
    fresh_bundle: Path,
) -> None:
    manifest = open_bundle(fresh_bundle).manifest
    named = replace(manifest.model, categories=("Gun",))
    write_manifest(fresh_bundle, replace(manifest, model=named, files={}))
    message = r"output of prompt_decoder are \['iou', 'low_res_logits'\]; expected \['category_log"
    with pytest.raises(BundleError, match=message):
        create(open_bundle(fresh_bundle), ONE).open()


def test_bytes_that_are_no_graph_are_refused(fresh_bundle: Path) -> None:
    resign(fresh_bundle, "prompt_decoder.onnx", b"not a graph")
    with pytest.raises(BundleError, match=r"prompt_decoder.onnx cannot be loaded.*export"):
        create(open_bundle(fresh_bundle), ONE).open()


def test_encoders_on_addresses_answer_like_encoders_on_arrays(
    runner: OnnxRuntimeRunner, device: HostDevice, model: ModelSpec
) -> None:
    image, energy = frames(model, 2, seed=0), frames(model, 2, seed=1)
    cells = model.side // model.energy_stride
    seen = {"energy_query": (2, model.embed_dim), "attention": (2, cells, cells)}
    shape = (2, model.embed_dim, model.grid, model.grid)
    embedding = Call(device, "image_encoder", {"image": image}, {"embedding": shape})
    query = Call(device, "energy_encoder", {"image": energy}, seen)
    for _ in range(2):
        expected = runner.encode(image, energy)
        found = embedding.run(runner.enqueue, {"image": image})
        found |= query.run(runner.enqueue, {"image": energy})
        for name, array in found.items():
            np.testing.assert_array_equal(array, getattr(expected, name))
        image, energy = energy, image  # the same addresses, other pixels


@pytest.mark.parametrize("kept", [0, 1, sessions.MAX_BINDINGS])
def test_the_decoder_on_addresses_answers_like_the_decoder_on_arrays(
    runner: OnnxRuntimeRunner,
    device: HostDevice,
    model: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    kept: int,
) -> None:
    monkeypatch.setattr(sessions, "MAX_BINDINGS", kept)
    calls = {
        num: Call(
            device,
            "prompt_decoder",
            prompts(model, images=2, num=num),
            answers_of(model, num),
        )
        for num in (1, 5, 3)
    }
    for seed in (0, 1):
        for num, call in calls.items():
            inputs = prompts(model, images=2, num=num, seed=seed)
            expected = runner.decode(**as_arguments(inputs))
            found = call.run(runner.enqueue, inputs)
            np.testing.assert_array_equal(found["low_res_logits"], expected.logits)
            np.testing.assert_array_equal(found["iou"], expected.iou)


@pytest.mark.parametrize(
    ("threads", "small", "expected"), [(2, 2**16, [2, 1]), (2, 0, [2, 2]), (1, 2**16, [1, 1])]
)
def test_a_lone_prompt_over_a_small_embedding_is_decoded_by_one_thread(
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    small: int,
    expected: list[int],
) -> None:
    run, ran = Session.run, list[int]()

    def spy(session: Session, *args: Any) -> list[Any]:
        ran.append(session._session.get_session_options().intra_op_num_threads)
        return run(session, *args)

    monkeypatch.setattr(Session, "run", spy)
    monkeypatch.setattr("apsam_serve.runtime.onnxruntime._SMALL_EMBEDDING", small)
    runner = create(open_bundle(tiny_bundle), RunnerOptions(threads=threads))
    runner.open()
    two, one = (
        runner.decode(**as_arguments(prompts(runner.model, images=1, num=num))) for num in (2, 1)
    )
    runner.close()
    assert ran == expected
    assert (len(two.iou), len(one.iou)) == (2, 1)


def test_an_output_that_is_not_named_is_left_out(
    runner: OnnxRuntimeRunner, device: HostDevice, model: ModelSpec
) -> None:
    inputs = prompts(model, images=1, num=1)
    wanted = {"iou": answers_of(model, 1)["iou"]}
    found = Call(device, "prompt_decoder", inputs, wanted).run(runner.enqueue, inputs)
    np.testing.assert_array_equal(found["iou"], runner.decode(**as_arguments(inputs)).iou)


def test_the_host_is_no_device_and_records_nothing(runner: OnnxRuntimeRunner) -> None:
    assert (runner.device, runner.replayable) == (None, False)


def test_inputs_that_the_graph_does_not_take_are_the_callers_fault(
    runner: OnnxRuntimeRunner, device: HostDevice, model: ModelSpec
) -> None:
    wrong = np.zeros((1, 8, 8, 3), np.uint8)
    message = r"image_encoder does not take these inputs.*image .*Got: 8 Expected: 64"
    with pytest.raises(InvalidInputError, match=message):
        runner.encode(wrong)
    call = Call(
        device, "image_encoder", {"image": wrong}, {"embedding": (1, model.embed_dim, 4, 4)}
    )
    with pytest.raises(InvalidInputError, match=message):
        call.run(runner.enqueue, {"image": wrong})


def test_too_little_memory_is_told_from_other_faults(
    fresh_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    huge = np.array([1 << 22, 1 << 22, 1, 1, 1, 1])
    append(
        fresh_bundle,
        helper.make_node("Expand", ["before", "huge"], ["expanded"]),
        helper.make_node("ReduceMax", ["expanded"], ["most"], axes=[0, 1], keepdims=0),
        helper.make_node("Identity", ["most"], ["embedding"]),
        huge=huge,
    )
    runner = create(open_bundle(fresh_bundle), ONE)
    runner.open()
    with pytest.raises(
        OutOfMemoryError, match="no memory left to run image_encoder; retry"
    ) as info:
        runner.encode(np.zeros((1, 64, 64, 3), np.uint8))
    assert info.value.retry_after_s > 0
    assert "image_encoder failed" in caplog.text


def test_a_graph_that_fails_is_a_fault_whose_words_only_the_log_has(
    fresh_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    append(
        fresh_bundle,
        helper.make_node("Reshape", ["before", "sevenths"], ["cut"]),
        helper.make_node("Reshape", ["cut", "whole"], ["embedding"]),
        sevenths=np.array([7, -1]),
        whole=np.array([-1, 8, 4, 4]),
    )
    runner = create(open_bundle(fresh_bundle), ONE)
    runner.open()
    with pytest.raises(DeviceFaultError, match=r"image_encoder failed in ONNX R.*log") as info:
        runner.encode(np.zeros((1, 64, 64, 3), np.uint8))
    assert "Reshape" in caplog.text
    assert "Reshape" not in str(info.value)


@pytest.mark.parametrize(
    "words",
    [
        "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 1",
        "CUDA failure 2: out of memory ; GPU=0",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        "std::bad_alloc",
    ],
)
def test_every_way_to_say_that_memory_is_missing_is_known(words: str) -> None:
    assert isinstance(failure("prompt_decoder", RuntimeError(words)), OutOfMemoryError)


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        ("Load model failed: Protobuf parsing failed", BundleError, "loaded .*export the bundle"),
        ("CUDA failure 2: out of memory", OutOfMemoryError, "no memory left to run graph.onnx"),
        (
            "CUDNN failure 1001: CUDNN_STATUS_NOT_INITIALIZED",
            BackendUnavailableError,
            "CUDAExecutionProvider does not work here .*nvidia-smi",
        ),
        (
            "This session cannot use the graph capture feature as requested by the user",
            BackendUnavailableError,
            "cannot be recorded by CUDAExecutionProvider .*with plans",
        ),
    ],
)
def test_a_graph_that_is_not_loaded_says_what_to_do(
    words: str, kind: type[ApsamError], message: str
) -> None:
    found = refusal(Path("graph.onnx"), sessions.PROVIDERS["cuda"], RuntimeError(words))
    assert type(found) is kind
    assert re.search(message, str(found))


def test_nodes_on_another_provider_are_named_and_shape_arithmetic_is_not(tiny_bundle: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    file, cpu = str(tiny_bundle / "prompt_decoder.onnx"), sessions.PROVIDERS["cpu"]
    session = onnxruntime.InferenceSession(file, options, providers=[cpu])
    assigned = session.get_provider_graph_assignment_info()
    assert elsewhere(assigned, cpu) == []
    strays = elsewhere(assigned, sessions.PROVIDERS["cuda"])
    assert f"Sigmoid on {cpu}" in strays
    assert not {f"Gather on {cpu}", f"Unsqueeze on {cpu}"} & set(strays)


@dataclass(eq=False)
class SessionSpy:
    """In the place of ONNX Runtime's session: which recording each run makes or replays."""

    ids: list[str] = field(default_factory=list)

    def io_binding(self) -> SimpleNamespace:
        def nothing(*_: object, **__: object) -> None:
            pass

        return SimpleNamespace(bind_input=nothing, bind_output=nothing)

    def run_with_iobinding(self, _binding: object, options: Any) -> None:
        self.ids.append(options.get_run_config_entry("gpu_graph_id"))


def test_bindings_are_recorded_once_nobody_loads_a_model(device: HostDevice) -> None:
    """Each under a number of its own; what comes too late is never recorded."""
    spy = SessionSpy()
    session = Session("graph", spy, device="cuda", recorded=True)
    arrays = [device.allocate((1,), "float32") for _ in range(sessions.MAX_BINDINGS + 1)]
    with without_recordings():
        session.enqueue({"x": arrays[0]}, {})
        session.enqueue({"x": arrays[0]}, {})
    assert spy.ids == ["-1", "-1"]
    for _ in range(2):
        spy.ids.clear()
        for array in arrays:
            session.enqueue({"x": array}, {})
        assert spy.ids == [*map(str, range(sessions.MAX_BINDINGS)), "-1"]


def test_a_recording_that_failed_is_not_taken_for_one(device: HostDevice) -> None:
    spy = SessionSpy()
    session = Session("graph", spy, device="cuda", recorded=True)
    array = device.allocate((1,), "float32")
    spy.ids = cast(Any, None)
    with pytest.raises(DeviceFaultError):
        session.enqueue({"x": array}, {})
    spy.ids = []
    with without_recordings():
        session.enqueue({"x": array}, {})
    assert spy.ids == ["-1"]


def test_a_provider_that_fails_is_told_and_not_replaced_by_another(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime would print the reason and load the graph for the CPU."""

    def fail(*_: object) -> None:
        raise RuntimeError("CUDA failure 2: out of memory")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(OutOfMemoryError):
        sessions.load(tiny_bundle / "image_encoder.onnx", sessions.PROVIDERS["cpu"], {}, threads=1)
    assert capsys.readouterr().out == ""


def test_libraries_that_pip_installed_are_loaded_for_a_gpu_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[bool] = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: loaded.append(True))
    sessions.provider_of("cpu")
    assert not loaded
    with pytest.raises(BackendUnavailableError, match="cannot run on device 'cuda'"):
        sessions.provider_of("cuda")
    assert loaded


def test_a_gpu_computes_what_plans_compute_and_records_on_the_stream_it_is_given() -> None:
    assert provider_options("cpu", stream=None) == {}
    alone, shared = (provider_options("cuda", stream=stream) for stream in (None, 7))
    assert alone["use_tf32"] == "0"
    assert "enable_cuda_graph" not in alone
    assert (shared["user_compute_stream"], shared["enable_cuda_graph"]) == ("7", "1")
