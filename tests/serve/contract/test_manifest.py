"""The bundle: what is written is what is opened, and nothing else is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.contract.folders import new_folder
from apsam_serve.contract.manifest import (
    GRAPH_NAMES,
    Build,
    Flops,
    Gate,
    GraphSpec,
    KernelSpec,
    Manifest,
    ModelSpec,
    Pass,
    TensorSpec,
    open_bundle,
    write_manifest,
)
from apsam_serve.errors import BundleError, OutputExistsError

MANIFEST = Manifest(
    model=ModelSpec(preset="tiny", side=64, embed_dim=8),
    builds={
        "fp32": Build(
            form="onnx",
            precision="fp32",
            graphs={
                name: GraphSpec(
                    file=f"{name}.onnx",
                    inputs=(TensorSpec(name="image", dtype="uint8", shape=("B", 64, 64, 3)),),
                    outputs=(TensorSpec(name="out", dtype="float32", shape=("B", 8)),),
                )
                for name in GRAPH_NAMES
            },
            gate=Gate(passed=True, detail="fine", thresholds={"min_mask_iou": 0.99}),
        )
    },
    passes=(Pass(name="fold", prevents="a bias of tokens x tokens"),),
    flops={"image_encoder": Flops(published=2.0, exported=1.0)},
    kernels=KernelSpec(
        source_sha256="ab", compiler="c", options=("-O3",), files={"sm_89": "kernels/apg.bin"}
    ),
    provenance={"checkpoint": "abc", "versions": {"numpy": "2"}},
)


def _write(path: Path, manifest: Manifest = MANIFEST) -> Path:
    with new_folder(path) as folder:
        for name in GRAPH_NAMES:
            (folder / f"{name}.onnx").write_bytes(name.encode())
        (folder / "kernels").mkdir()
        (folder / "kernels" / "apg.bin").write_bytes(b"\0" * 100)
        write_manifest(folder, manifest)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return _write(tmp_path / "bundle")


def _edit(path: Path, change: Callable[[Any], None]) -> None:
    file = path / "manifest.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def _refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    return str(caught.value)


def test_a_bundle_comes_back_as_it_was_written(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert replace(opened.manifest, files={}) == MANIFEST
    assert set(opened.manifest.files) == {
        *(f"{name}.onnx" for name in GRAPH_NAMES),
        "kernels/apg.bin",
    }
    entry = opened.manifest.files["kernels/apg.bin"]
    assert (entry.num_bytes, entry.sha256) == (100, hashlib.sha256(b"\0" * 100).hexdigest())
    assert opened.file("kernels/apg.bin").read_bytes() == b"\0" * 100
    raw = (bundle / "manifest.json").read_bytes()
    assert opened.digest == hashlib.sha256(raw).hexdigest()


def test_the_grids_follow_from_the_side() -> None:
    model = ModelSpec(preset="vit_l", side=512, embed_dim=256)
    assert (model.grid, model.mask_side) == (32, 128)


def test_the_names_of_categories_come_back(tmp_path: Path) -> None:
    named = replace(MANIFEST, model=replace(MANIFEST.model, categories=("Gun", "Bullet")))
    model = open_bundle(_write(tmp_path / "bundle", named)).manifest.model
    assert (model.categories, model.num_categories) == (("Gun", "Bullet"), 2)


def test_the_same_files_have_the_same_digest(tmp_path: Path) -> None:
    one, two = (open_bundle(_write(tmp_path / name)) for name in ("one", "two"))
    assert one.digest == two.digest


def test_a_manifest_in_a_subfolder_is_a_file_like_any_other(tmp_path: Path) -> None:
    with new_folder(tmp_path / "b") as folder:
        for name in GRAPH_NAMES:
            (folder / f"{name}.onnx").write_bytes(b"x")
        (folder / "plans").mkdir()
        (folder / "plans" / "manifest.json").write_text("{}")
        write_manifest(folder, replace(MANIFEST, kernels=None))
    assert "plans/manifest.json" in open_bundle(tmp_path / "b").manifest.files


def test_a_file_that_is_not_listed_is_not_given_out(bundle: Path) -> None:
    opened = open_bundle(bundle)
    (bundle / "extra.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"lists no file 'extra.bin'; it has .*image_encoder"):
        opened.file("extra.bin")


@pytest.mark.parametrize("name", ["extra.bin", ".hidden", "kernels/old.bin", "new/plan.engine"])
def test_a_folder_with_a_file_that_is_not_listed_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_bytes(b"x")
    assert f"{bundle / name} is not in {bundle / 'manifest.json'}; remove it" in _refusal(bundle)


@pytest.mark.parametrize("target", ["kernels", "nowhere"])
def test_a_link_that_is_not_listed_is_refused(bundle: Path, target: str) -> None:
    (bundle / "link").symlink_to(bundle / target)
    assert "link is not in" in _refusal(bundle)


def test_an_empty_folder_beside_the_files_is_harmless(bundle: Path) -> None:
    (bundle / "empty").mkdir()
    open_bundle(bundle)


def test_one_changed_byte_is_found_and_named(bundle: Path) -> None:
    file = bundle / "kernels" / "apg.bin"
    file.write_bytes(b"\0" * 99 + b"\1")
    message = _refusal(bundle)
    assert str(file) in message
    assert "is not the file that was exported: 100 bytes with SHA-256" in message
    assert "copy or export the bundle again" in message


def test_a_shortened_file_is_found_and_named(bundle: Path) -> None:
    (bundle / "image_encoder.onnx").write_bytes(b"")
    assert "image_encoder.onnx is not the file that was exported: 0 bytes" in _refusal(bundle)


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "image_encoder.onnx").unlink()
    assert "image_encoder.onnx is missing or not a plain file; export" in _refusal(bundle)


@pytest.mark.parametrize("name", ["../outside.bin", "kernels/../../outside.bin", "a\\..\\b"])
def test_a_path_that_leaves_the_folder_is_refused(bundle: Path, name: str) -> None:
    (bundle.parent / "outside.bin").write_bytes(b"x")
    entry = {"sha256": hashlib.sha256(b"x").hexdigest(), "num_bytes": 1}
    _edit(bundle, lambda document: document["files"].update({name: entry}))
    assert f"lists {name!r}, which leaves the folder; refused" in _refusal(bundle)


def test_an_absolute_path_is_refused(bundle: Path) -> None:
    entry = {"sha256": "0" * 64, "num_bytes": 1}
    _edit(bundle, lambda document: document["files"].update({"/etc/hostname": entry}))
    assert "which leaves the folder; refused" in _refusal(bundle)


def test_a_link_in_place_of_a_file_is_refused(bundle: Path) -> None:
    file = bundle / "image_encoder.onnx"
    file.rename(bundle.parent / "elsewhere.onnx")
    file.symlink_to(bundle.parent / "elsewhere.onnx")
    assert "image_encoder.onnx is missing or not a plain file" in _refusal(bundle)


def test_a_linked_folder_that_leads_outside_is_refused(bundle: Path) -> None:
    (bundle / "kernels").rename(bundle.parent / "elsewhere")
    (bundle / "kernels").symlink_to(bundle.parent / "elsewhere")
    assert "apg.bin is missing or not a plain file" in _refusal(bundle)


@pytest.mark.parametrize("version", [0, 1, 3, "1", None])
def test_an_unknown_version_is_refused(bundle: Path, version: object) -> None:
    _edit(bundle, lambda document: document.update(format_version=version))
    message = _refusal(bundle)
    assert f"has format_version {version!r}; this release reads 2" in message
    assert "install the matching apsam or export the bundle again" in message


CHANGES: dict[str, Callable[[Any], None]] = {
    "model missing": lambda d: d.pop("model"),
    "provenance missing": lambda d: d.pop("provenance"),
    "files missing": lambda d: d.pop("files"),
    "side missing": lambda d: d["model"].pop("side"),
    "a form nobody knows": lambda d: d["builds"]["fp32"].update(form="pickle"),
    "a precision nobody knows": lambda d: d["builds"]["fp32"].update(precision="int3"),
    "kernels a word": lambda d: d.update(kernels="sm_89"),
    "categories a word": lambda d: d["model"].update(categories="Gun"),
    "categories numbers": lambda d: d["model"].update(categories=[1, 2]),
    "a category without a name": lambda d: d["model"].update(categories=["Gun", ""]),
    "side unknown": lambda d: d["model"].update(sides=3),
    "input shape missing": lambda d: d["builds"]["fp32"]["graphs"]["image_encoder"]["inputs"][
        0
    ].pop("shape"),
    "file hash missing": lambda d: d["files"]["image_encoder.onnx"].pop("sha256"),
    "file field unknown": lambda d: d["files"]["image_encoder.onnx"].update(mode=1),
    "files a list": lambda d: d.update(files=[]),
    "builds a number": lambda d: d.update(builds=3),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_missing_or_unknown_field_is_refused(bundle: Path, change: Callable[[Any], None]) -> None:
    _edit(bundle, change)
    assert "lacks or misnames a field" in _refusal(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "\ufeff{}"])
def test_another_document_is_refused(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text, encoding="utf-8")
    assert "manifest.json is not a bundle manifest" in _refusal(bundle)


def test_bytes_that_are_no_text_are_refused(bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(b"\x80\xff\x00")
    assert "manifest.json is not a bundle manifest" in _refusal(bundle)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    message = _refusal(tmp_path / "nothing")
    assert "cannot be read (No such file or directory)" in message
    assert "give a folder written by apsam-export" in message


def test_a_bundle_without_one_of_its_graphs_is_refused(bundle: Path) -> None:
    _edit(bundle, lambda d: d["builds"]["fp32"]["graphs"].pop("energy_encoder"))
    assert "lists no graph 'energy_encoder' of build 'fp32'" in _refusal(bundle)


def test_a_bundle_without_the_reference_build_is_refused(bundle: Path) -> None:
    _edit(bundle, lambda d: d["builds"].update(fp16=d["builds"].pop("fp32")))
    assert "lists no build 'fp32'; export the bundle again" in _refusal(bundle)


def test_a_graph_whose_weights_are_not_listed_is_refused(bundle: Path) -> None:
    _edit(bundle, lambda d: d["builds"]["fp32"]["graphs"]["image_encoder"].update(data=["w.bin"]))
    assert "lists no graph 'image_encoder' of build 'fp32', or not all" in _refusal(bundle)


def test_kernels_that_are_not_listed_are_refused(bundle: Path) -> None:
    _edit(bundle, lambda d: d["kernels"]["files"].update(sm_90="kernels/other.bin"))
    assert "names kernels that it does not list" in _refusal(bundle)


def test_a_graph_whose_file_is_not_listed_is_refused(bundle: Path) -> None:
    _edit(bundle, lambda document: document["files"].pop("energy_encoder.onnx"))
    assert "lists no graph 'energy_encoder'" in _refusal(bundle)


def _interrupted(path: Path) -> None:
    with new_folder(path) as folder:
        (folder / "image_encoder.onnx").write_bytes(b"half")
        raise KeyboardInterrupt


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _interrupted(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "bundle") as folder:
        assert folder.parent == tmp_path / "deep"
        assert not (tmp_path / "deep" / "bundle").exists()
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["bundle"]


def test_an_existing_target_is_refused_and_kept(bundle: Path) -> None:
    with (
        pytest.raises(OutputExistsError, match="exists already; choose another folder"),
        new_folder(bundle),
    ):
        pass
    open_bundle(bundle)
