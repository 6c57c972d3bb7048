"""ONNX graphs to plans: really compiled by TensorRT-RTX, which needs no GPU."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from apsam_export.errors import PlanError
from apsam_export.plans.cache import PlanCache, default_folder, key_of
from apsam_export.plans.compiler import Compiler
from apsam_export.plans.compiling import check, compile_plans
from apsam_export.plans.profiles import PROFILES
from apsam_export.request import PlanForm
from apsam_serve.contract.manifest import GRAPH_NAMES, GraphSpec, ModelSpec
from apsam_serve.contract.prompts import MAX_DECODER_POINTS, MAX_PROMPTS
from apsam_serve.contract.tensors import tensor_specs
from apsam_serve.errors import BundleError
from tests.serve.conftest import MODEL, write_tiny_bundle


@dataclass
class Export:
    """A folder of ONNX graphs with the contract's tensors, and what was said while compiling."""

    folder: Path
    cache: Path
    said: list[str] = field(default_factory=list)

    def graphs(self, *names: str) -> dict[str, GraphSpec]:
        contract = tensor_specs(MODEL)
        return {
            name: GraphSpec(
                file=f"{name}.onnx", inputs=contract[name][0], outputs=contract[name][1]
            )
            for name in names or GRAPH_NAMES
        }

    def compile(
        self, *names: str, model: ModelSpec = MODEL
    ) -> tuple[dict[str, GraphSpec], dict[str, Any]]:
        self.said.clear()
        return compile_plans(
            self.folder,
            form="tensorrt_rtx",
            graphs=self.graphs(*names),
            model=model,
            precision="fp32",
            cache=self.cache,
            say=self.said.append,
        )

    def plan(self, graph: str) -> bytes:
        return (self.folder / "plans" / "rtx-fp32" / f"{graph}.plan").read_bytes()


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What has been compiled by an earlier test of this module is not compiled again."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def export(tmp_path: Path, shared_cache: Path) -> Export:
    write_tiny_bundle(tmp_path / "graphs", MODEL)
    return Export(folder=tmp_path / "graphs", cache=shared_cache)


def edit(file: Path, change: Callable[[onnx.GraphProto], object]) -> None:
    model = onnx.load(file)
    change(model.graph)
    onnx.save(model, file)


def test_every_graph_becomes_a_plan_with_the_same_tensors(export: Export) -> None:
    specs, compiled = export.compile()
    for name, spec in export.graphs().items():
        assert specs[name] == replace(spec, file=f"plans/rtx-fp32/{name}.plan")
        assert len(export.plan(name)) > 10_000
    assert compiled["library"] == "tensorrt_rtx"
    assert compiled["version"] == sys.modules["tensorrt_rtx"].__version__
    assert {"sm_80", "sm_86", "sm_89", "sm_120"} <= set(compiled["target"]["compute_capabilities"])
    assert compiled["flags"] == ["strongly typed", "no TF32", "memory of the caller's (RTX)"]
    assert compiled["profiles"]["image_encoder"][2] == {"B": {"least": 3, "usual": 4, "most": 4}}
    assert list(compiled["sources"]["image_encoder"]) == ["image_encoder.onnx"]


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_the_profiles_name_exactly_the_free_axes(graph: str) -> None:
    inputs, _ = tensor_specs(MODEL)[graph]
    free = {size for tensor in inputs for size in tensor.shape if isinstance(size, str)}
    assert all(profile.keys() == free for profile in PROFILES[graph])


def test_the_profiles_reach_what_the_service_asks_for() -> None:
    largest = {axis: sizes.most for axis, sizes in PROFILES["prompt_decoder"][-1].items()}
    assert largest == {"B": MAX_PROMPTS, "P": MAX_PROMPTS, "N": MAX_DECODER_POINTS}
    images = [profile["B"] for profile in PROFILES["image_encoder"]]
    assert [n for b in images for n in range(b.least, b.most + 1)] == list(range(1, 17))


def test_a_plan_is_taken_from_the_cache_until_its_graph_changes(
    export: Export, tmp_path: Path
) -> None:
    export.cache = tmp_path / "fresh"
    export.compile("energy_encoder")
    assert export.said[0].startswith("compiling energy_encoder for sm_80, ")
    first = export.plan("energy_encoder")
    (export.folder / "plans" / "rtx-fp32" / "energy_encoder.plan").unlink()
    export.compile("energy_encoder")
    assert export.said[0].startswith("energy_encoder was compiled for sm_80, ")
    assert export.plan("energy_encoder") == first

    def double(graph: onnx.GraphProto) -> None:
        (full,) = (one for one in graph.initializer if one.name == "full")
        full.raw_data = bytes(bytearray(full.raw_data)[:3]) + b"\x44"

    edit(export.folder / "energy_encoder.onnx", double)
    export.compile("energy_encoder")
    assert export.said[0].startswith("compiling energy_encoder")


def test_weights_beside_a_graph_belong_to_what_it_is_known_by(export: Export) -> None:
    model = onnx.load(export.folder / "image_encoder.onnx")
    onnx.save(
        model,
        export.folder / "image_encoder.onnx",
        save_as_external_data=True,
        location="image_encoder.data",
        size_threshold=0,
    )
    graphs = export.graphs("image_encoder")
    graphs["image_encoder"] = replace(graphs["image_encoder"], data=("image_encoder.data",))

    def compiled() -> Mapping[str, Any]:
        specs, facts = compile_plans(
            export.folder,
            form="tensorrt_rtx",
            graphs=graphs,
            model=MODEL,
            precision="fp32",
            cache=export.cache,
            say=export.said.append,
        )
        assert specs["image_encoder"].data == ()
        sources: Mapping[str, Any] = facts["sources"]["image_encoder"]
        return sources

    before = compiled()
    weights = export.folder / "image_encoder.data"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x40")
    after = compiled()
    assert before["image_encoder.onnx"] == after["image_encoder.onnx"]
    assert before["image_encoder.data"] != after["image_encoder.data"]
    assert [line.split()[0] for line in export.said] == ["compiling", "compiling"]


def test_a_damaged_entry_is_thrown_away(tmp_path: Path) -> None:
    cache = PlanCache(tmp_path / "cache")
    key = key_of({"version": "1"})
    cache.store(key, b"a plan")
    (entry,) = cache.folder.iterdir()
    assert cache.load(key) == b"a plan"
    entry.write_bytes(b"a pla")
    assert cache.load(key) is None
    assert list(cache.folder.iterdir()) == []


def test_an_entry_replaces_the_one_before_and_no_other(tmp_path: Path) -> None:
    cache = PlanCache(tmp_path)
    for key, data in (("a", b"1"), ("b", b"1"), ("a", b"2"), ("a", b"2")):
        cache.store(key, data)
    assert (cache.load("a"), cache.load("b"), cache.load("c")) == (b"2", b"1", None)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PlanError, match=r"cannot be kept in .*file/plans .*another folder"):
        PlanCache(tmp_path / "file" / "plans")


def test_the_cache_lies_where_the_user_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "apsam" / "plans"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "apsam" / "plans"


def test_an_operator_that_the_library_does_not_know_is_named(export: Export) -> None:
    def replace_sigmoid(graph: onnx.GraphProto) -> None:
        (node,) = (node for node in graph.node if node.op_type == "Sigmoid")
        node.op_type, node.domain, node.name = "Wavelet", "my.ops", "odd_one"

    file = export.folder / "prompt_decoder.onnx"
    edit(file, replace_sigmoid)
    model = onnx.load(file)
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    onnx.save(model, file)
    message = r"prompt_decoder.onnx is not understood by tensorrt_rtx 1\..*Wavelet 'odd_one'"
    with pytest.raises(PlanError, match=message):
        export.compile("prompt_decoder")


def test_what_the_compiler_refuses_comes_back_with_its_log(export: Export) -> None:
    def reshape_to_another_size(graph: onnx.GraphProto) -> None:
        (plane,) = (one for one in graph.initializer if one.name == "plane")
        plane.CopyFrom(numpy_helper.from_array(np.array([-1, 1, 17, 16]), "plane"))

    edit(export.folder / "prompt_decoder.onnx", reshape_to_another_size)
    with pytest.raises(PlanError, match=r"prompt_decoder.onnx is not .* by tensorrt_rtx 1\..*: .+"):
        export.compile("prompt_decoder")


def test_a_graph_of_another_type_is_refused(export: Export) -> None:
    def halve(graph: onnx.GraphProto) -> None:
        graph.node.append(
            helper.make_node("Cast", ["whole"], ["embedding"], to=TensorProto.FLOAT16)
        )
        graph.node[-2].output[0] = "whole"
        graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16

    edit(export.folder / "image_encoder.onnx", halve)
    with pytest.raises(BundleError, match=r"'embedding' is float16 .*expected float32"):
        export.compile("image_encoder")


@pytest.mark.parametrize(
    ("form", "install"),
    [("tensorrt", r"apsam\[gpu\]"), ("tensorrt_rtx", r"apsam\[rtx\]")],
)
def test_a_missing_library_is_named_with_how_to_install_it(
    form: PlanForm, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, form, None)
    with pytest.raises(PlanError, match=rf"no {form} plans .*not installed here.*{install}"):
        check(form)


def test_an_empty_package_of_the_name_is_not_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", types.ModuleType("tensorrt"))
    with pytest.raises(PlanError, match=r"not installed here \(an empty package.*pypi.nvidia.com"):
        check("tensorrt")


class Code(IntEnum):
    """Of CUDA."""

    cudaErrorNoDevice = 100  # noqa: N815


def test_plans_of_one_gpu_are_not_compiled_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.ModuleType("tensorrt")
    monkeypatch.setattr(library, "__version__", "11.1.0", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    cuda = types.ModuleType("cuda.bindings.runtime")
    monkeypatch.setattr(
        cuda, "cudaGetDeviceCount", lambda: (Code.cudaErrorNoDevice, 0), raising=False
    )
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    with pytest.raises(PlanError, match=r"no tensorrt plans .*no CUDA device .*nvidia-smi"):
        check("tensorrt")


@pytest.mark.parametrize(
    ("form", "version", "flags"),
    [("tensorrt", "10.3.0", 2), ("tensorrt", "11.0.0.114", 0), ("tensorrt_rtx", "1.7.1.116", 2)],
)
def test_networks_are_strongly_typed_in_every_version(
    form: PlanForm, version: str, flags: int
) -> None:
    names = types.SimpleNamespace(STRONGLY_TYPED=1)
    library = types.SimpleNamespace(__version__=version, NetworkDefinitionCreationFlag=names)
    assert Compiler(form=form, library=library, target={}).creation_flags() == flags


def test_nothing_is_missing_for_portable_plans() -> None:
    check("tensorrt_rtx")
