"""The back end for plans, over doubles of its libraries: what it checks, and what it hands over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from apsam_serve.contract.manifest import ModelSpec, open_bundle, write_manifest
from apsam_serve.errors import (
    ApsamError,
    BackendUnavailableError,
    BundleError,
    DeviceFaultError,
    InvalidInputError,
    OutOfMemoryError,
)
from apsam_serve.ops import plans as ops_plans
from apsam_serve.ops.plans import Profile, fitting
from apsam_serve.runtime import onnxruntime
from apsam_serve.runtime.base import DeviceRunner, Runner, RunnerOptions
from apsam_serve.runtime.tensorrt import create
from tests.serve.runtime import plan_double
from tests.serve.runtime.host_device import Call, answers_of, as_arguments, prompts
from tests.serve.runtime.plan_double import (
    Device,
    add_kernels,
    add_plans,
    install,
)

CUDA = RunnerOptions(device="cuda")
PROFILES: list[Profile] = [
    {"x": ((1, 3), (1, 3)), "y": ((1,), (1,))},
    {"x": ((1, 3), (64, 3)), "y": ((1,), (64,))},
    {"x": ((1, 3), (4, 3)), "y": ((1,), (64,))},
]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    install(monkeypatch, made)
    return made


@pytest.fixture
def plans(fresh_bundle: Path) -> Path:
    add_plans(fresh_bundle)
    return fresh_bundle


@pytest.fixture
def resident(device: Device, plans: Path) -> Iterator[DeviceRunner]:
    """A runner that keeps everything on the device."""
    add_kernels(plans, {"sm_90": "kernels.cubin"})
    made = create(open_bundle(plans), replace(CUDA, on_device=True))
    made.open()
    yield made
    made.close()


@pytest.fixture
def runner(device: Device, plans: Path) -> Iterator[Runner]:
    made = create(open_bundle(plans), CUDA)
    made.open()
    yield made
    made.close()


def open_it(bundle: Path, options: RunnerOptions = CUDA) -> None:
    create(open_bundle(bundle), options).open()


@pytest.mark.parametrize(("x", "y", "index"), [(1, 1, 0), (2, 1, 2), (1, 64, 2), (5, 5, 1)])
def test_the_smallest_profile_that_fits_is_taken(x: int, y: int, index: int) -> None:
    assert fitting({"x": (x, 3), "y": (y,)}, PROFILES) == index


@pytest.mark.parametrize("shape", [(65, 3), (1, 4), (0, 3), (3,)])
def test_a_shape_outside_every_profile_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"no profile .*takes up to.*send fewer at once"):
        fitting({"x": shape, "y": (1,)}, PROFILES)


@pytest.mark.parametrize("num_images", [1, 3])
def test_plans_answer_like_the_graphs_they_were_made_of(
    runner: Runner, plans: Path, num_images: int
) -> None:
    reference = onnxruntime.create(open_bundle(plans), RunnerOptions(threads=1))
    reference.open()
    rng = np.random.default_rng(num_images)
    side, low = runner.model.side, runner.model.mask_side
    images = rng.integers(0, 256, (num_images, side, side, 3), np.uint8)
    for each in (1, 5, 2):
        found, expected = (one.encode(images) for one in (runner, reference))
        np.testing.assert_array_equal(found.embedding, expected.embedding)
        np.testing.assert_array_equal(found.attention, expected.attention)
        prompts = {
            "embedding": found.embedding,
            "energy_query": found.energy_query,
            "image_index": np.arange(each) % num_images,
            "coords": rng.uniform(0, side, (each, 3, 2)).astype(np.float32),
            "labels": np.ones((each, 3), np.float32),
            "mask_input": np.zeros((each, 1, low, low), np.float32),
            "has_mask_input": np.zeros(each, np.float32),
        }
        ours, theirs = (one.decode(**prompts) for one in (runner, reference))
        np.testing.assert_array_equal(ours.logits, theirs.logits)
        np.testing.assert_array_equal(ours.iou, theirs.iou)
    reference.close()


def test_the_steady_state_allocates_nothing_and_closing_frees_everything(
    runner: Runner, device: Device
) -> None:
    side = runner.model.side
    runner.encode(np.zeros((3, side, side, 3), np.uint8))
    before = device.num_allocations
    for num_images in (1, 3, 2):
        runner.encode(np.zeros((num_images, side, side, 3), np.uint8))
    assert device.num_allocations == before
    assert device.allocated > 0
    runner.close()
    runner.close()
    assert (device.allocated, device.num_streams) == (0, 0)


def test_what_is_copied_for_the_device_lives_until_it_is_there(runner: Runner, plans: Path) -> None:
    side = runner.model.side
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 6), np.uint8)[..., ::2]
    assert not images.flags.c_contiguous
    found, expected = runner.encode(images), runner.encode(images.copy())
    np.testing.assert_array_equal(found.embedding, expected.embedding)
    np.testing.assert_array_equal(found.attention, expected.attention)


def test_more_than_the_plans_were_compiled_for_is_refused(runner: Runner) -> None:
    with pytest.raises(InvalidInputError, match=r"\(5, 64, 64, 3\).*up to .*\(4, 64, 64, 3\)"):
        runner.encode(np.zeros((5, 64, 64, 3), np.uint8))


def test_a_full_device_is_named(runner: Runner, device: Device) -> None:
    device.size = 0
    with pytest.raises(OutOfMemoryError, match=r"no memory to allocate 12288 bytes"):
        runner.encode(np.zeros((1, 64, 64, 3), np.uint8))


def test_a_device_without_room_for_the_plans_is_refused_at_once(
    device: Device, plans: Path
) -> None:
    device.size = 0
    with pytest.raises(OutOfMemoryError, match="no memory to allocate 1000 bytes"):
        open_it(plans)
    assert device.num_streams == 0


def test_a_plan_without_a_context_is_refused_at_once(device: Device, plans: Path) -> None:
    device.makes_contexts = False
    with pytest.raises(BackendUnavailableError, match=r"plan of image_encoder failed .*memory and"):
        open_it(plans)
    assert (device.allocated, device.num_streams) == (0, 0)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("CUDA error 2: out of memory at 0x7f00", OutOfMemoryError),
        ("illegal memory access at 0x7f00", DeviceFaultError),
    ],
)
def test_a_plan_that_fails_says_why_in_the_log_alone(
    runner: Runner,
    device: Device,
    caplog: pytest.LogCaptureFixture,
    words: str,
    kind: type[ApsamError],
) -> None:
    device.fault = words
    with pytest.raises(kind, match="the plan of image_encoder") as info:
        runner.encode(np.zeros((1, 64, 64, 3), np.uint8))
    assert words in caplog.text
    assert "0x7f00" not in str(info.value)


def test_a_library_that_does_not_start_is_named(device: Device, plans: Path) -> None:
    device.starts = False
    with pytest.raises(BackendUnavailableError, match=r"tensorrt does not start .*nullptr.*driver"):
        open_it(plans)
    assert device.num_streams == 0


def test_plans_that_reach_less_far_than_the_service_are_refused(
    device: Device, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = ({"B": (1, 16), "P": (1, 64), "N": (1, 20)},)
    monkeypatch.setattr(plan_double, "PROMPTS", narrow)
    with pytest.raises(BundleError, match=r"prompt_decoder.onnx: no profile.*export the bundle"):
        open_it(plans)
    assert device.num_streams == 0


def test_a_plan_for_another_machine_says_what_it_was_compiled_with(
    device: Device, plans: Path
) -> None:
    manifest = replace(open_bundle(plans).manifest, files={})
    (plans / "energy_encoder.onnx").write_bytes(b"not a plan of this version")
    write_manifest(plans, manifest)
    message = r"energy_encoder.*loaded by tensorrt 10.9.*magic tag.*'gpu': 'a double'.*compile"
    with pytest.raises(BackendUnavailableError, match=message):
        open_it(plans)


def test_a_plan_with_other_tensors_than_the_contract_is_refused(
    device: Device, fresh_bundle: Path
) -> None:
    add_plans(fresh_bundle, precision="fp16")
    with pytest.raises(BundleError, match=r"'embedding' is float32 .*expected float16"):
        open_it(fresh_bundle)


def test_work_that_was_recorded_is_not_changed_by_other_shapes(
    device: Device, resident: DeviceRunner, model: ModelSpec
) -> None:
    gpu = resident.device
    assert gpu is not None
    assert resident.replayable
    calls = {
        num: Call(gpu, "prompt_decoder", prompts(model, images=2, num=num), answers_of(model, num))
        for num in (1, 5, 3)
    }
    for seed in range(4):  # runs, is recorded, and is replayed twice
        inputs = {num: prompts(model, images=2, num=num, seed=seed) for num in calls}
        expected = {num: resident.decode(**as_arguments(inputs[num])) for num in calls}
        for num, call in calls.items():
            call.send(inputs[num])
            gpu.replay(num, partial(resident.enqueue, "prompt_decoder", call.inputs, call.outputs))
            found = call.fetch()
            gpu.wait()
            np.testing.assert_array_equal(found["low_res_logits"], expected[num].logits)


def test_shapes_that_come_too_late_are_answered_but_not_recorded(
    resident: DeviceRunner,
    model: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ops_plans, "MAX_CONTEXTS", 1)
    gpu = resident.device
    assert gpu is not None
    for num in (1, 2, 3):
        inputs = prompts(model, images=1, num=num)
        call = Call(gpu, "prompt_decoder", inputs, answers_of(model, num))
        work = partial(resident.enqueue, "prompt_decoder", call.inputs, call.outputs)
        for _ in range(3):
            call.send(inputs)
            gpu.replay(num, work)
        found = call.fetch()
        np.testing.assert_array_equal(
            found["low_res_logits"], resident.decode(**as_arguments(inputs)).logits
        )
    recorded = [record.getMessage() for record in caplog.records]
    assert [text[0] for text in recorded] == ["2", "3"]
    assert all("1 contexts already; nothing else of it is recorded" in text for text in recorded)


def test_an_output_that_is_not_named_goes_where_nobody_reads(
    resident: DeviceRunner, model: ModelSpec
) -> None:
    inputs = prompts(model, images=1, num=1)
    wanted = {"iou": answers_of(model, 1)["iou"]}
    gpu = resident.device
    found = Call(gpu, "prompt_decoder", inputs, wanted).run(resident.enqueue, inputs)
    np.testing.assert_array_equal(found["iou"], resident.decode(**as_arguments(inputs)).iou)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, r"has no kernels, .* sm_90; run apsam-export --kernels sm_90"),
        (
            {"sm_80": "kernels.cubin"},
            r"no kernels for sm_90; .*\(run apsam-export --kernels sm_90\)",
        ),
    ],
)
def test_kernels_for_the_gpu_are_needed_to_keep_everything_there(
    device: Device, plans: Path, files: dict[str, str] | None, message: str
) -> None:
    if files is not None:
        add_kernels(plans, files)
    with pytest.raises(BackendUnavailableError, match=message):
        open_it(plans, replace(CUDA, on_device=True))


def test_the_installed_rtx_has_what_the_double_has() -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    assert rtx.ExecutionContextAllocationStrategy.USER_MANAGED is not None
    assert rtx.DynamicShapesKernelSpecializationStrategy.EAGER is not None
    for double, real in (
        (plan_double.Engine, rtx.ICudaEngine),
        (plan_double.Context, rtx.IExecutionContext),
        (plan_double.RuntimeConfig, rtx.IRuntimeConfig),
        (plan_double.RuntimeCache, rtx.IRuntimeCache),
    ):
        ours = {name for name in vars(double) if not name.startswith("_")}
        assert ours - set(dir(real)) - {"compile", "total_compiled"} == set()


def test_plans_run_on_no_other_device(device: Device, plans: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="cannot run on device 'cpu'; give device"):
        open_it(plans, RunnerOptions())


def test_a_bundle_without_plans_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(BackendUnavailableError, match=r"runs tensorrt or tensorrt_rtx; .*fp32"):
        open_it(tiny_bundle)


def test_a_missing_library_is_named_with_how_to_install_it(
    plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendUnavailableError, match=r"tensorrt is not installed .*apsam\[gpu\]"):
        open_it(plans)


def test_missing_bindings_are_named_with_how_to_install_them(
    device: Device, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(BackendUnavailableError, match=r"cuda.bindings is not .*install cuda-bind"):
        open_it(plans)
