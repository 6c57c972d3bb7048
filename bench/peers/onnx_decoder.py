"""SAM's official ONNX decoder under ONNX Runtime, as it is commonly served.

The embedding lies on the host and is fed with every call, and the graph ends in a mask as large as
the image. Exported as SAM's own script does; the encoder is a plain export of the original too.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import PointLabel, Prompt
from bench.peers.base import Answer, Source, clicked
from bench.peers.sam_shape import SamOnnxModel, ShapedSam
from bench.peers.two_points import two_points

OPSET = 17
Arrays = Mapping[str, NDArray[Any]]


def open_peer(name: str, source: Source) -> OnnxDecoderPeer:
    """Exports both graphs into a folder that goes as soon as they are loaded."""
    shaped = ShapedSam(source.checkpoint)
    with tempfile.TemporaryDirectory(prefix="apsam-peer-") as folder:
        encoder = write_encoder(shaped, Path(folder) / "encoder.onnx")
        decoder = write_decoder(shaped, Path(folder) / "decoder.onnx")
        sessions = [_session(file, source.threads) for file in (encoder, decoder)]
    return OnnxDecoderPeer(name, shaped, *sessions)


class EncoderGraph(nn.Module):
    """image uint8 [1, S, S, 3] -> image_embeddings [1, C, G, G], energy_query [1, C]."""

    def __init__(self, shaped: ShapedSam) -> None:
        super().__init__()
        self.model = shaped.model
        self.encoder = shaped.sam.image_encoder

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        query, _ = self.model.encode_energy(image)
        return self.encoder(self.model.normalise(image)), query


class MaskTokens(nn.Module):
    """In the place of SAM's mask tokens, for a weight that an input decides: float [M, C]."""

    weight: Tensor


class DecoderGraph(nn.Module):
    """The official decoder, with the inputs of its script and energy_query [1, C].

    Returns the best mask alone, logits [1, 1, H, W], its predicted IoU [1, 1] and its
    low-resolution logits [1, 1, L, L], as `--return-single-mask` does. Two differences: that one
    never picks the first mask after one click, and the release on PyPI crops every image like the
    one it was traced with.
    """

    def __init__(self, shaped: ShapedSam) -> None:
        super().__init__()
        self.official = SamOnnxModel(shaped.sam, return_single_mask=True)
        self.decoder = shaped.model.mask_decoder
        self.tokens = self.decoder.mask_tokens = MaskTokens()
        self.without_query = shaped.mask_tokens

    def forward(
        self,
        image_embeddings: Tensor,
        energy_query: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        official = self.official
        self.tokens.weight = self.without_query + energy_query
        logits, iou = self.decoder.predict_masks(
            image_embeddings,
            official.model.prompt_encoder.get_dense_pe(),
            official._embed_points(point_coords, point_labels),
            official._embed_masks(mask_input, has_mask_input),
        )
        best = iou.argmax(dim=1)
        logits, iou = logits[:, best[0]].unsqueeze(1), iou[:, best[0]].unsqueeze(1)
        return self._upscaled(logits, orig_im_size), iou, logits

    def _upscaled(self, logits: Tensor, size: Tensor) -> Tensor:
        side = self.official.img_size
        frame = functional.interpolate(logits, size=(side, side), mode="bilinear")
        inside = self.official.resize_longest_image_size(size, side)
        cropped = frame[..., : inside[0], : inside[1]]
        height, width = size.to(torch.int64)
        return functional.interpolate(cropped, size=(height, width), mode="bilinear")


def write_encoder(shaped: ShapedSam, file: Path) -> Path:
    """Inputs and outputs as in `EncoderGraph`."""
    side = shaped.side
    inputs = {"image": torch.zeros(1, side, side, 3, dtype=torch.uint8)}
    return _export(EncoderGraph(shaped), inputs, ["image_embeddings", "energy_query"], file)


def write_decoder(shaped: ShapedSam, file: Path) -> Path:
    """Inputs and outputs as in `DecoderGraph`; the number of points is free."""
    spec = shaped.model.preset.spec
    inputs = {
        "image_embeddings": torch.randn(1, spec.embed_dim, spec.grid, spec.grid),
        "energy_query": torch.randn(1, spec.embed_dim),
        "point_coords": torch.rand(1, 5, 2) * spec.side,
        "point_labels": torch.randint(0, 4, (1, 5)).float(),
        "mask_input": torch.randn(1, 1, spec.mask_side, spec.mask_side),
        "has_mask_input": torch.ones(1),
        "orig_im_size": torch.tensor([1500.0, 2250.0]),
    }
    return _export(DecoderGraph(shaped), inputs, ["masks", "iou_predictions", "logits"], file)


class OnnxDecoderPeer:
    """Implements `base.Peer` over two sessions of ONNX Runtime."""

    def __init__(self, name: str, shaped: ShapedSam, encoder: Any, decoder: Any) -> None:
        self.name = name
        self._side, self._apg = shaped.side, shaped.apg
        self._encoder, self._decoder = encoder, decoder
        self._frame: LetterBox | None = None
        self._image: Arrays = {}

    def encode(self, image: NDArray[np.uint8]) -> None:
        boxed, self._frame = letterbox(image, side=self._side)
        embedding, query = self._encoder.run(None, {"image": boxed[None]})
        mask_side = self._frame.mask_side
        self._image = {
            "image_embeddings": embedding,
            "energy_query": query,
            "mask_input": np.zeros((1, 1, mask_side, mask_side), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(image.shape[:2], np.float32),
        }

    def click(self, prompt: Prompt) -> Answer:
        frame = self._frame
        assert frame is not None, "encode an image first"
        point = clicked(prompt)
        started = time.perf_counter()
        mask, logits = self._decode(frame.to_model(point))
        decoded = time.perf_counter()
        found = two_points(logits, valid_cells=frame.valid_cells, config=self._apg)
        placed = time.perf_counter()
        stages = {"decode_1": decoded - started, "points": placed - decoded}
        if len(found) == 0:
            return Answer(mask=mask, points=point, stages=stages)
        mask, _ = self._decode(found)
        stages["decode_2"] = time.perf_counter() - placed
        return Answer(mask=mask, points=frame.to_image(found), stages=stages)

    def close(self) -> None:
        self._image = {}

    def _decode(self, points: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """points: [N, 2] in model pixels; the mask [H, W] and its logits [L, L]."""
        padded = np.concatenate([points, np.zeros((1, 2), np.float32)])
        labels = np.full(len(padded), PointLabel.POSITIVE, np.float32)
        labels[-1] = PointLabel.PADDING
        prompt = {"point_coords": padded[None], "point_labels": labels[None]}
        masks, _, logits = self._decoder.run(None, {**self._image, **prompt})
        return masks[0, 0] > 0, logits[0, 0]


def _export(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: list[str], file: Path
) -> Path:
    """By tracing, because the official decoder computes sizes from tensors."""
    with warnings.catch_warnings():
        # Of the tracer that it is old, and of branches that it does not see; none is taken here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}}
            if "point_coords" in inputs
            else None,
        )
    return file


def _session(file: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
