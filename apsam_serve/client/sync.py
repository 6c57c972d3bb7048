"""The blocking client: a server, or several, as a Segmenter."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import grpc

from apsam_serve.client import channels, requests
from apsam_serve.client.calls import Calls, Effect, Pause, Send
from apsam_serve.client.flows import Flows
from apsam_serve.client.held import Held, HeldFacts
from apsam_serve.client.images import Image, image_message
from apsam_serve.client.requests import FASTEST
from apsam_serve.client.retries import Retries
from apsam_serve.client.running import run
from apsam_serve.client.server_info import ServerInfo
from apsam_serve.client.sync_session import Session, Stream
from apsam_serve.config import MAX_MESSAGE_BYTES
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.engine.proposals import AttentionMap, ProposeOptions
from apsam_serve.engine.replies import Embedding
from apsam_serve.service.convert import Proposal
from apsam_serve.service.trailers import error_of
from apsam_serve.v1 import segmentation_pb2 as pb


def open_server(address: str) -> Client:
    """The Segmenter of a server at HOST:PORT, or of several, separated by commas."""
    return Client(address.split(","))


class Client:
    """Implements `contract.segmenter.Segmenter` over gRPC.

    servers: HOST:PORT of one, or of several (one process per GPU): new images are spread over them,
    questions about an image go to the process that holds it. timeout_s: of each call with all its
    attempts; tls: None for plaintext. Every method raises the package's own errors; what is tried
    again is said in `client.retries`. Threads may share a client.
    """

    def __init__(
        self,
        servers: str | Sequence[str],
        *,
        timeout_s: float = 30.0,
        tls: channels.Tls | None = None,
        retries: Retries | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._calls = Calls(servers, timeout_s=timeout_s, retries=retries or Retries())
        self._flows = Flows(self._calls)
        self._max_message_bytes = max_message_bytes
        self._wires = channels.Wires(
            grpc.insecure_channel, grpc.secure_channel, tls=tls, max_message_bytes=max_message_bytes
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def servers(self) -> tuple[str, ...]:
        """As given, each once."""
        return self._calls.routes.addresses

    def encode(self, image: Image, *, ttl_s: float | None = None) -> RemoteImage:
        """Encode an image and have a server hold it; ttl_s: life of the unused handle.

        Raises InvalidImageError, OverloadedError, NotServingError or DeadlineExceededError.
        """
        held = run(self._flows.encode(self._message(image), ttl_s), self._do)
        return RemoteImage(held, self._flows, self._do)

    def segment(
        self,
        image: Image,
        prompts: Sequence[Prompt],
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Segmentation]:
        """Answer prompts about an image in one call; the server does not hold it."""
        request = requests.segment_request(prompts, strategy, apg, mask_encoding)
        return run(self._flows.segment(self._message(image), request), self._do)

    def propose(
        self,
        image: Image,
        options: ProposeOptions | None = None,
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Proposal]:
        """Find objects in an image in one call, the strongest peak first."""
        request = requests.propose_request(options, strategy, apg, mask_encoding)
        return run(self._flows.propose(self._message(image), request), self._do)

    def session(self) -> Session:
        """Image, click, refine, next image over one stream: `with client.session() as s`."""
        return Session(self._calls, self._open_stream, max_message_bytes=self._max_message_bytes)

    def server_info(self, server: str | None = None) -> ServerInfo:
        """What a server runs and allows; None: whichever answers."""
        return run(self._flows.server_info(server), self._do)

    def is_serving(self, server: str | None = None) -> bool:
        """Whether a server is loaded, warm and not draining; None: any of them. Raises
        NotServingError when none answers."""
        return run(self._flows.is_serving(server), self._do)

    def close(self) -> None:
        """Close the connections. What servers hold expires by itself."""
        for channel in self._wires.take_all():
            channel.close()

    def _do(self, effect: Effect) -> Any:
        if isinstance(effect, Pause):
            return time.sleep(effect.seconds)
        assert isinstance(effect, Send)
        try:
            method = self._wires.method(effect.address, effect.method)
            return method(effect.request, timeout=effect.timeout_s)
        except grpc.RpcError as error:
            raise error_of(error, effect.address) from error

    def _open_stream(self, address: str) -> Stream:
        return Stream(self._wires.method(address, "Session"), address)

    def _message(self, image: Image) -> pb.Image:
        return image_message(image, max_message_bytes=self._max_message_bytes)


class RemoteImage(HeldFacts):
    """Implements `contract.segmenter.EncodedImage`. It keeps the image as it was sent, so that it
    can encode again when the server holds it no longer."""

    def __init__(self, held: Held, flows: Flows, do: Callable[[Effect], Any]) -> None:
        super().__init__(held)
        self._flows = flows
        self._do = do

    def __enter__(self) -> RemoteImage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def segment(
        self,
        prompts: Sequence[Prompt],
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Segmentation]:
        """Answer each prompt, in order. Prompt.mask_id: of an earlier answer about this image.

        Raises InvalidPromptError, MaskGoneError for a mask that is no longer held, or
        HandleGoneError after `release`; an image that the server lost is encoded again.
        """
        request = requests.segment_request(prompts, strategy, apg, mask_encoding)
        return run(self._flows.segment_held(self._held, request), self._do)

    def propose(
        self,
        options: ProposeOptions | None = None,
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Proposal]:
        """Find objects, the strongest peak first. Encodes again as `segment` does."""
        request = requests.propose_request(options, strategy, apg, mask_encoding)
        return run(self._flows.propose_held(self._held, request), self._do)

    def attention(self) -> AttentionMap:
        """Where the energy branch looked, for people to see; `propose` finds its peaks. Encodes
        again as `segment` does."""
        return run(self._flows.attention_held(self._held), self._do)

    def renew(self, ttl_s: float | None = None) -> Embedding:
        """Move the expiry; ttl_s: its life from now on, None for as it was. Encodes again as
        `segment` does."""
        return run(self._flows.renew(self._held, ttl_s), self._do)

    def info(self) -> Embedding:
        """What the server knows of it. Does not count as use. Raises HandleGoneError."""
        return run(self._flows.info(self._held), self._do)

    def release(self) -> None:
        """Have the server forget the image; harmless when image or server are gone already."""
        run(self._flows.release(self._held), self._do)
