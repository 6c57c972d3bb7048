"""The tensor contract of the three graphs, and the check of a loaded graph against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apsam_serve.contract.manifest import GraphSpec, ModelSpec, TensorSpec
from apsam_serve.errors import BundleError

Axes = Sequence[int | str | None]
Found = Mapping[str, tuple[str, Axes]]
"""name -> (NumPy dtype, shape) as the loaded graph declares it; free axes are not numbers."""


def expected(model: ModelSpec) -> dict[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]:
    """graph -> (inputs, outputs) that serving feeds and reads for a model of these shapes."""
    side, cells = model.side, model.side // model.energy_stride
    channels, grid, low = model.embed_dim, model.grid, model.mask_side
    image = _tensor("image", "uint8", "B", side, side, 3)
    embedding = _tensor("embedding", "float32", "B", channels, grid, grid)
    query = _tensor("energy_query", "float32", "B", channels)
    prompts = (
        _tensor("image_index", "int64", "P"),
        _tensor("point_coords", "float32", "P", "N", 2),
        _tensor("point_labels", "float32", "P", "N"),
        _tensor("mask_input", "float32", "P", 1, low, low),
        _tensor("has_mask_input", "float32", "P"),
    )
    masks = (
        _tensor("low_res_logits", "float32", "P", model.num_masks, low, low),
        _tensor("iou", "float32", "P", model.num_masks),
    )
    return {
        "image_encoder": ((image,), (embedding,)),
        "energy_encoder": ((image,), (query, _tensor("attention", "float32", "B", cells, cells))),
        "prompt_decoder": ((embedding, query, *prompts), masks),
    }


def check(graph: str, spec: GraphSpec, model: ModelSpec, *, inputs: Found, outputs: Found) -> None:
    """Raise BundleError unless manifest and loaded graph both keep the contract of `model`."""
    want_inputs, want_outputs = expected(model)[graph]
    for kind, want, listed, found in (
        ("input", want_inputs, spec.inputs, inputs),
        ("output", want_outputs, spec.outputs, outputs),
    ):
        manifest = {tensor.name: (tensor.dtype, tensor.shape) for tensor in listed}
        for source, have in (("manifest.json", manifest), (spec.file, found)):
            _compare(f"{source}: {kind} of {graph}", want, have)


def _compare(where: str, want: Sequence[TensorSpec], have: Found) -> None:
    names = [tensor.name for tensor in want]
    if sorted(names) != sorted(have):
        raise BundleError(
            f"{where} are {sorted(have)}; expected {sorted(names)}: export the bundle again"
        )
    for tensor in want:
        dtype, shape = have[tensor.name]
        if dtype != tensor.dtype or not _same(tensor.shape, shape):
            raise BundleError(
                f"{where} {tensor.name!r} is {dtype} {list(shape)}; expected {tensor.dtype} "
                f"{list(tensor.shape)}: export the bundle again"
            )


def _same(want: Axes, have: Axes) -> bool:
    """Fixed axes must be equal; free axes must be free."""
    return len(want) == len(have) and all(
        w == h if isinstance(w, int) else not isinstance(h, int)
        for w, h in zip(want, have, strict=True)
    )


def _tensor(name: str, dtype: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)
