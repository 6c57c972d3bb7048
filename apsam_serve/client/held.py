"""An image that a server holds for this client."""

from __future__ import annotations

from dataclasses import dataclass

from apsam_serve.engine.replies import Embedding
from apsam_serve.errors import HandleGoneError
from apsam_serve.service.convert_images import embedding_from
from apsam_serve.v1 import segmentation_pb2 as pb


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an image is held. address: of the process that holds it."""

    embedding: Embedding
    address: str

    @classmethod
    def of(cls, message: pb.Embedding, asked: str) -> Place:
        """asked: the address that was asked, which may be a balancer's."""
        return cls(embedding=embedding_from(message), address=message.server_address or asked)


class Held:
    """An image with where it is held now; it is kept, to be encoded again when that place is lost.
    ttl_s: as asked for, None for the server's own."""

    def __init__(self, image: pb.Image, *, ttl_s: float | None, place: Place) -> None:
        self.ttl_s = ttl_s
        self.place = place
        self._image: pb.Image | None = image

    @property
    def image(self) -> pb.Image:
        """As it was sent. Raises HandleGoneError after `forget`."""
        if self._image is None:
            raise HandleGoneError("image was released; encode it again", reason="DELETED")
        return self._image

    @property
    def forgotten(self) -> bool:
        """Whether it was released."""
        return self._image is None

    def forget(self) -> None:
        """No more questions."""
        self._image = None


class HeldFacts:
    """What every remote image tells without asking."""

    def __init__(self, held: Held) -> None:
        self._held = held

    @property
    def handle(self) -> str:
        """The server's name of the image; another one after it was encoded again."""
        return self._held.place.embedding.handle

    @property
    def height(self) -> int:
        """Height in image pixels."""
        return self._held.place.embedding.height

    @property
    def width(self) -> int:
        """Width in image pixels."""
        return self._held.place.embedding.width

    @property
    def model_digest(self) -> str:
        """The bundle that encoded the image."""
        return self._held.place.embedding.model_digest

    @property
    def server_address(self) -> str:
        """HOST:PORT of the process that holds it, which is asked directly."""
        return self._held.place.address
