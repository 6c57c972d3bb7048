"""What every verb of the client does, in terms of `calls`: spreading new images over servers,
following a handle to its owner, and encoding again what was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from apsam_serve.client.calls import Calls, Flow, Send
from apsam_serve.client.channels import CHECK
from apsam_serve.client.held import Held, Place
from apsam_serve.client.requests import (
    FASTEST,
    new_request_id,
    owned_mask_id,
    plain_mask_ids,
    propose_request,
    refines,
)
from apsam_serve.client.server_info import ServerInfo, server_info_from
from apsam_serve.contract.segmenter import Segmentation
from apsam_serve.engine.proposals import AttentionMap, ProposeOptions
from apsam_serve.engine.replies import Embedding
from apsam_serve.errors import ApsamError, HandleGoneError, MaskGoneError, NotServingError
from apsam_serve.service import convert
from apsam_serve.service.convert_images import embedding_from
from apsam_serve.v1 import segmentation_pb2 as pb

R = TypeVar("R", pb.SegmentRequest, pb.ProposeRequest, pb.RenewEmbeddingRequest)
# Written out, so that the base install needs no health package: field 1, value 1 means SERVING.
_SERVING = b"\x08\x01"


class Flows:
    """The verbs of one client."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def encode(self, image: pb.Image, ttl_s: float | None) -> Flow[Held]:
        """Have any server hold an image."""
        place = yield from self._create(image, ttl_s, self.calls.deadline_s())
        return Held(image, ttl_s=ttl_s, place=place)

    def segment(self, image: pb.Image, request: pb.SegmentRequest) -> Flow[list[Segmentation]]:
        """Answer prompts about an image that is not held."""
        request.image.CopyFrom(image)
        request.request_id = new_request_id()
        response = yield from self._anywhere("Segment", request)
        return segmentations(response, "")

    def propose(self, image: pb.Image, request: pb.ProposeRequest) -> Flow[list[convert.Proposal]]:
        """Find objects in an image that is not held."""
        request.image.CopyFrom(image)
        request.request_id = new_request_id()
        response = yield from self._anywhere("Propose", request)
        return proposals(response, "")

    def segment_held(self, held: Held, request: pb.SegmentRequest) -> Flow[list[Segmentation]]:
        """Answer prompts about a held image; their masks must be this image's."""
        plain_mask_ids(request.prompts, held.place.embedding.handle)
        response = yield from self._ask(held, "Segment", request)
        return segmentations(response, held.place.embedding.handle)

    def propose_held(self, held: Held, request: pb.ProposeRequest) -> Flow[list[convert.Proposal]]:
        """Find objects in a held image."""
        response = yield from self._ask(held, "Propose", request)
        return proposals(response, held.place.embedding.handle)

    def attention_held(self, held: Held) -> Flow[AttentionMap]:
        """Where the energy branch looked in a held image."""
        least = ProposeOptions(max_proposals=1)
        request = propose_request(least, "direct", None, FASTEST, include_attention=True)
        response = yield from self._ask(held, "Propose", request)
        if not response.HasField("attention"):
            raise ApsamError(
                f"{held.place.address} tells no attention; update the server to this release"
            )
        return convert.attention_from(response.attention)

    def renew(self, held: Held, ttl_s: float | None) -> Flow[Embedding]:
        """Move the expiry of a held image."""
        held.ttl_s = held.ttl_s if ttl_s is None else ttl_s
        request = pb.RenewEmbeddingRequest()
        if ttl_s is not None:
            request.ttl.CopyFrom(convert.duration_to(ttl_s))
        response = yield from self._ask(held, "RenewEmbedding", request)
        return embedding_from(response.embedding)

    def info(self, held: Held) -> Flow[Embedding]:
        """What the owner knows of a held image. Raises HandleGoneError; nothing is encoded."""
        request = pb.GetEmbeddingRequest(handle=held.place.embedding.handle)
        deadline_s = self.calls.deadline_s()
        response = yield from self.calls.at(held.place.address, "GetEmbedding", request, deadline_s)
        return embedding_from(response.embedding)

    def release(self, held: Held) -> Flow[bool]:
        """Whether the owner forgot it now. What cannot be reached forgets by itself."""
        if held.forgotten:
            return False
        held.forget()
        request = pb.DeleteEmbeddingRequest(handle=held.place.embedding.handle)
        timeout_s = self.calls.left_s(self.calls.deadline_s())
        try:
            response = yield Send(
                address=held.place.address,
                method="DeleteEmbedding",
                request=request,
                timeout_s=timeout_s,
            )
        except (HandleGoneError, NotServingError):
            return False
        return bool(response.deleted)

    def server_info(self, address: str | None) -> Flow[ServerInfo]:
        """Of one server, None for any."""
        request, deadline_s = pb.GetServerInfoRequest(), self.calls.deadline_s()
        if address is None:
            _, response = yield from self.calls.anywhere("GetServerInfo", request, deadline_s)
        else:
            response = yield from self.calls.at(address, "GetServerInfo", request, deadline_s)
        return server_info_from(response)

    def is_serving(self, address: str | None) -> Flow[bool]:
        """Whether one server, or with None any of them, says so. Tells facts, so nothing is tried
        again. Raises NotServingError when none answers."""
        deadline_s = self.calls.deadline_s()
        silence: NotServingError | None = None
        answered = False
        for one in self.calls.routes.addresses if address is None else (address,):
            timeout_s = self.calls.left_s(deadline_s)
            try:
                answer = yield Send(address=one, method=CHECK, request=b"", timeout_s=timeout_s)
            except NotServingError as error:
                silence = error
                continue
            answered = True
            if answer == _SERVING:
                return True
        if silence is not None and not answered:
            raise silence
        return False

    def _anywhere(self, method: str, request: pb.SegmentRequest | pb.ProposeRequest) -> Flow[Any]:
        _, response = yield from self.calls.anywhere(method, request, self.calls.deadline_s())
        return response

    def _create(self, image: pb.Image, ttl_s: float | None, deadline_s: float) -> Flow[Place]:
        request = pb.CreateEmbeddingRequest(
            image=image,
            ttl=None if ttl_s is None else convert.duration_to(ttl_s),
            request_id=new_request_id(),
        )
        asked, response = yield from self.calls.anywhere("CreateEmbedding", request, deadline_s)
        return Place.of(response.embedding, asked)

    def _ask(self, held: Held, method: str, request: R) -> Flow[Any]:
        """Ask the owner; when it lost the image or went away for good, encode again, once."""
        image, asked, deadline_s = held.image, held.place, self.calls.deadline_s()
        _address_to(request, asked)
        try:
            return (yield from self.calls.at(asked.address, method, request, deadline_s))
        except MaskGoneError:
            raise
        except HandleGoneError:
            pass
        except NotServingError:
            if not set(self.calls.routes.addresses) - {asked.address}:
                raise
        if held.place is asked:  # else another thread has done it meanwhile
            held.place = yield from self._create(image, held.ttl_s, deadline_s)
        if isinstance(request, pb.SegmentRequest) and refines(request):
            raise MaskGoneError(
                f"image {asked.embedding.handle} was lost with its masks and has been encoded "
                "again; click again, or send the points without the mask"
            )
        _address_to(request, held.place)
        return (yield from self.calls.at(held.place.address, method, request, deadline_s))


def segmentations(response: pb.SegmentResponse, handle: str) -> list[Segmentation]:
    """Answers about a held image, "" for one that is not. Raises ApsamError for changed masks."""
    return [
        _owned(convert.segmentation_from(one, response.timings), handle)
        for one in response.segmentations
    ]


def proposals(response: pb.ProposeResponse, handle: str) -> list[convert.Proposal]:
    """Likewise."""
    return [
        replace(one, segmentation=_owned(one.segmentation, handle))
        for one in convert.proposals_from(response)
    ]


def _owned(answer: Segmentation, handle: str) -> Segmentation:
    return replace(answer, mask_id=owned_mask_id(handle, answer.mask_id))


def _address_to(request: R, place: Place) -> None:
    """A request to another place is another request."""
    request.handle = place.embedding.handle
    if not isinstance(request, pb.RenewEmbeddingRequest):
        request.request_id = new_request_id()
