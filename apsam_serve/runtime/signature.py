"""The check of a loaded graph against the tensor contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apsam_serve.contract.manifest import GraphSpec, ModelSpec, Precision, TensorSpec
from apsam_serve.contract.tensors import tensor_specs
from apsam_serve.errors import BundleError

Axes = Sequence[int | str | None]
Found = Mapping[str, tuple[str, Axes]]
"""name -> (NumPy dtype, shape) as the loaded graph declares it; free axes are not numbers."""


def check(
    graph: str,
    spec: GraphSpec,
    model: ModelSpec,
    precision: Precision,
    *,
    inputs: Found,
    outputs: Found,
) -> None:
    """Raise BundleError unless manifest and loaded graph both keep the contract of `model`."""
    want_inputs, want_outputs = tensor_specs(model, precision)[graph]
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
