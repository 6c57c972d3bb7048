"""The bundle: the folder that export writes and serving opens.

`manifest.json` names every other file with its SHA-256 and size. Opening verifies all of them first
and refuses unknown format versions, paths that leave the folder, and a folder with any file that is
not listed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from apsam_serve.errors import BundleError

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"
GRAPH_NAMES = ("image_encoder", "energy_encoder", "prompt_decoder")
"""What every build consists of."""
REFERENCE_BUILD = "fp32"
"""The build that every bundle has: ONNX graphs in FP32, held to the checkpoint."""

Form = Literal["onnx", "tensorrt", "tensorrt_rtx"]
Precision = Literal["fp32", "fp16", "bf16"]
FORMS: tuple[Form, ...] = get_args(Form)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a graph. Free axes of `shape` are letters: B images, P prompts, N
    points; fixed axes are numbers. `dtype` is a NumPy name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """One graph, or the plan compiled from it, and its tensor contract. data: files beside it that
    hold its weights, where they do not fit into it."""

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    data: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Whether a build was held to the checkpoint. detail: what was found, or why nobody could look;
    thresholds: what was demanded, by name."""

    passed: bool
    detail: str
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Build:
    """One way to run the model: all three graphs in one form and precision.

    compiled: how plans were made (library, version, GPU, flags, profiles, SHA-256 of the graphs
    they were compiled from); empty for ONNX.
    """

    form: Form
    precision: Precision
    graphs: Mapping[str, GraphSpec]
    gate: Gate
    compiled: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One exact rewrite that the graphs went through. prevents: what would happen without it."""

    name: str
    prevents: str


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Floating-point operations of one graph for one image or one click (a multiply-add is two):
    of the model as published, and as exported in FP32."""

    published: float
    exported: float


@dataclass(frozen=True, kw_only=True)
class KernelSpec:
    """GPU kernels compiled ahead of time. source_sha256: of their source; compiler: name and
    version; files: architecture ("sm_89") -> file of the bundle."""

    source_sha256: str
    compiler: str
    options: tuple[str, ...]
    files: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What the graphs compute. side: S, model input side in pixels; embed_dim: C of embedding and
    energy query; num_masks: masks per prompt; energy_stride: model pixels per attention cell;
    categories: names of the category head's classes from 1 on, class 0 being no contraband; empty
    for a model without that head; apg_core: the `ApgConfig.core` that it was trained with."""

    preset: str
    side: int
    embed_dim: int
    num_masks: int = 4
    token_stride: int = 16
    mask_stride: int = 4
    energy_stride: int = 8
    categories: tuple[str, ...] = ()
    apg_core: float = 0.0

    @property
    def num_categories(self) -> int:
        """Length of `categories`; 0 for a model without a category head."""
        return len(self.categories)

    @property
    def grid(self) -> int:
        """G, side of the token grid."""
        return self.side // self.token_stride

    @property
    def mask_side(self) -> int:
        """L, side of the low-resolution masks."""
        return self.side // self.mask_stride


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """SHA-256 (hex) and size of one file."""

    sha256: str
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of manifest.json. `files` is filled by `write_manifest`."""

    model: ModelSpec
    builds: Mapping[str, Build]
    provenance: Mapping[str, Any]
    passes: tuple[Pass, ...] = ()
    flops: Mapping[str, Flops] = field(default_factory=dict)
    kernels: KernelSpec | None = None
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle. digest: SHA-256 of manifest.json, the model's identity."""

    path: Path
    manifest: Manifest
    digest: str

    def file(self, name: str) -> Path:
        """Path of a listed file. Raises BundleError when the manifest does not list it."""
        if name not in self.manifest.files:
            raise BundleError(f"{self.path} lists no file {name!r}; it has {self.names()}")
        return self.path / name

    def build(self, name: str) -> Build:
        """A build by name. Raises BundleError listing those there are."""
        if name not in self.manifest.builds:
            raise BundleError(
                f"{self.path} has no build {name!r}; it has {', '.join(self.manifest.builds)}"
            )
        return self.manifest.builds[name]

    def names(self) -> str:
        """The listed files, for messages."""
        return ", ".join(sorted(self.manifest.files))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Hash every file of `folder` and write manifest.json beside them."""
    files = {
        file.relative_to(folder).as_posix(): asdict(_entry(file))
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != folder / MANIFEST_NAME
    }
    document = asdict(manifest) | {"files": files}
    (folder / MANIFEST_NAME).write_text(json.dumps(document, indent=2) + "\n")


def open_bundle(path: Path) -> Bundle:
    """Read and verify a bundle. Raises BundleError naming the file and what to do."""
    file = path / MANIFEST_NAME
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{file} cannot be read ({error.strerror}); give a folder written by apsam-export"
        ) from error
    manifest = _parse(file, raw)
    for name, entry in manifest.files.items():
        _verify(path, name, entry)
    _check_references(file, manifest)
    _refuse_unlisted(path, manifest)
    return Bundle(path=path, manifest=manifest, digest=hashlib.sha256(raw).hexdigest())


def _entry(file: Path) -> FileEntry:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(sha256=digest, num_bytes=file.stat().st_size)


def _verify(path: Path, name: str, entry: FileEntry) -> None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name:
        raise BundleError(
            f"{path / MANIFEST_NAME} lists {name!r}, which leaves the folder; refused"
        )
    file = path / name
    if not file.is_file() or file.is_symlink() or not file.resolve().is_relative_to(path.resolve()):
        raise BundleError(f"{file} is missing or not a plain file; export the bundle again")
    found = _entry(file)
    if found != entry:
        raise BundleError(
            f"{file} is not the file that was exported: {found.num_bytes} bytes with SHA-256 "
            f"{found.sha256[:12]}, expected {entry.num_bytes} bytes with {entry.sha256[:12]}; "
            "copy or export the bundle again"
        )


def _check_references(file: Path, manifest: Manifest) -> None:
    """Every file that a build or the kernels name must be among the verified ones."""
    if REFERENCE_BUILD not in manifest.builds:
        raise BundleError(f"{file} lists no build {REFERENCE_BUILD!r}; export the bundle again")
    for name, build in manifest.builds.items():
        for graph in GRAPH_NAMES:
            spec = build.graphs.get(graph)
            if spec is None or not {spec.file, *spec.data} <= manifest.files.keys():
                raise BundleError(
                    f"{file} lists no graph {graph!r} of build {name!r}, or not all of its files; "
                    "export the bundle again"
                )
    if manifest.kernels and not set(manifest.kernels.files.values()) <= manifest.files.keys():
        raise BundleError(f"{file} names kernels that it does not list; export the bundle again")


def _refuse_unlisted(path: Path, manifest: Manifest) -> None:
    """Nobody opens such a file, but who put it there could change the others too."""
    listed = {path / name for name in manifest.files} | {path / MANIFEST_NAME}
    for found in sorted(path.rglob("*")):
        if found not in listed and (found.is_symlink() or not found.is_dir()):
            raise BundleError(
                f"{found} is not in {path / MANIFEST_NAME}; remove it, or export the bundle again"
            )


def _parse(file: Path, raw: bytes) -> Manifest:
    try:
        document = json.loads(raw)
        version = document["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{file} is not a bundle manifest ({error}); export it again") from error
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{file} has format_version {version!r}; this release reads {FORMAT_VERSION}: "
            "install the matching apsam or export the bundle again"
        )
    try:
        return Manifest(
            model=_model(document["model"]),
            builds={name: _build(build) for name, build in document["builds"].items()},
            provenance=document["provenance"],
            passes=tuple(Pass(**one) for one in document["passes"]),
            flops={name: Flops(**one) for name, one in document["flops"].items()},
            kernels=_kernels(document["kernels"]),
            files={name: FileEntry(**entry) for name, entry in document["files"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{file} lacks or misnames a field ({error}); export it again") from error


def _model(spec: Mapping[str, Any]) -> ModelSpec:
    categories = spec["categories"]
    if not isinstance(categories, list) or not all(n and isinstance(n, str) for n in categories):
        raise TypeError(f"model.categories is {categories!r}, expected a list of names")
    return ModelSpec(**{**spec, "categories": tuple(categories)})


def _build(spec: Mapping[str, Any]) -> Build:
    if spec["form"] not in FORMS or spec["precision"] not in PRECISIONS:
        raise TypeError(
            f"a build is {spec['form']!r} in {spec['precision']!r}, expected one of {FORMS} in "
            f"one of {PRECISIONS}"
        )
    graphs = {name: _graph(graph) for name, graph in spec["graphs"].items()}
    return Build(**{**spec, "graphs": graphs, "gate": Gate(**spec["gate"])})


def _graph(spec: Mapping[str, Any]) -> GraphSpec:
    def tensors(key: str) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(**{**t, "shape": tuple(t["shape"])}) for t in spec[key])

    return GraphSpec(
        file=spec["file"],
        inputs=tensors("inputs"),
        outputs=tensors("outputs"),
        data=tuple(spec["data"]),
    )


def _kernels(spec: Mapping[str, Any] | None) -> KernelSpec | None:
    return None if spec is None else KernelSpec(**{**spec, "options": tuple(spec["options"])})
