"""What a server says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from apsam_serve.engine.replies import LoadedModel
from apsam_serve.v1 import segmentation_pb2 as pb


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """Software, models and limits of a process, see GetServerInfoResponse in the protocol. models:
    the one that new images are encoded with first; server_address: "" where it was not told."""

    version: str
    server_id: str
    server_address: str
    models: tuple[LoadedModel, ...]
    palettes: tuple[str, ...]
    max_pixels: int
    max_message_bytes: int
    max_prompts: int
    max_points: int
    max_ttl_s: float
    masks_per_image: int


def server_info_from(message: pb.GetServerInfoResponse) -> ServerInfo:
    """A reply as a value."""
    return ServerInfo(
        version=message.version,
        server_id=message.server_id,
        server_address=message.server_address,
        models=tuple(_model_from(model) for model in message.models),
        palettes=tuple(message.palettes),
        max_pixels=message.max_pixels,
        max_message_bytes=message.max_message_bytes,
        max_prompts=message.max_prompts,
        max_points=message.max_points,
        max_ttl_s=message.max_ttl.seconds + message.max_ttl.nanos / 1e9,
        masks_per_image=message.masks_per_image,
    )


def _model_from(message: pb.Model) -> LoadedModel:
    return LoadedModel(
        digest=message.digest,
        preset=message.preset,
        form=message.form,
        precision=message.precision,
        verified=message.verified,
        categories=tuple(message.categories),
        current=message.current,
        num_embeddings=message.num_embeddings,
    )
