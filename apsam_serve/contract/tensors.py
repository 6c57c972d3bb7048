"""The tensor contract of the three graphs: what export writes and serving feeds and reads."""

from __future__ import annotations

from apsam_serve.contract.manifest import ModelSpec, Precision, TensorSpec

DTYPES: dict[Precision, str] = {"fp32": "float32", "fp16": "float16", "bf16": "float32"}
"""What embeddings and energy queries are held in (NumPy has no bfloat16); everything else that is
no image or index travels as float32."""


def tensor_specs(
    model: ModelSpec, precision: Precision = "fp32"
) -> dict[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]:
    """graph -> (inputs, outputs) for a model of these shapes in this precision."""
    held = DTYPES[precision]
    side, cells = model.side, model.side // model.energy_stride
    channels, grid, low = model.embed_dim, model.grid, model.mask_side
    image = _tensor("image", "uint8", "B", side, side, 3)
    embedding = _tensor("embedding", held, "B", channels, grid, grid)
    query = _tensor("energy_query", held, "B", channels)
    prompts = (
        _tensor("image_index", "int64", "P"),
        _tensor("point_coords", "float32", "P", "N", 2),
        _tensor("point_labels", "float32", "P", "N"),
        _tensor("mask_input", "float32", "P", 1, low, low),
        _tensor("has_mask_input", "float32", "P"),
    )
    answers = [
        _tensor("low_res_logits", "float32", "P", model.num_masks, low, low),
        _tensor("iou", "float32", "P", model.num_masks),
    ]
    if model.categories:
        answers.append(_tensor("category_logits", "float32", "P", 1 + model.num_categories))
    return {
        "image_encoder": ((image,), (embedding,)),
        "energy_encoder": ((image,), (query, _tensor("attention", "float32", "B", cells, cells))),
        "prompt_decoder": ((embedding, query, *prompts), tuple(answers)),
    }


def _tensor(name: str, dtype: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)
