"""The synchronous client: a server as a Segmenter. Needs the base install only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import grpc
import numpy as np
from numpy.typing import NDArray

from apsam_serve.config import MAX_MESSAGE_BYTES
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.preprocess import check_image
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.errors import HandleGoneError, InvalidImageError
from apsam_serve.service import convert
from apsam_serve.service.trailers import error_of
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

Image = bytes | str | Path | NDArray[np.uint8]
"""The bytes of an image file, its path, or an RGB array uint8 [H, W, 3]."""
FASTEST = pb.MASK_ENCODING_PACKED_BITS_ZLIB
"""What this client asks for unless told otherwise: it unpacks masks anyway, and run lengths take
longer to make and to read."""
_STRATEGIES = {"direct": pb.STRATEGY_DIRECT, "apg": pb.STRATEGY_APG}


def open_server(address: str) -> Client:
    """The Segmenter of a server at HOST:PORT."""
    return Client(address)


class Client:
    """Implements `contract.segmenter.Segmenter` over gRPC. timeout_s: of each call.

    Every method raises the package's own errors. Threads may share a client.
    """

    def __init__(
        self, server: str, *, timeout_s: float = 30.0, max_message_bytes: int = MAX_MESSAGE_BYTES
    ) -> None:
        self.server = server
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(
            server,
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                ("grpc.keepalive_time_ms", 20_000),
                ("grpc.keepalive_timeout_ms", 5_000),
            ],
        )
        self._stub = pb_grpc.SegmentationServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def encode(self, image: Image) -> RemoteImage:
        """Encode an image and have the server hold it.

        Raises InvalidImageError, OverloadedError, NotServingError or DeadlineExceededError.
        """
        return RemoteImage(self, file_bytes(image))

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
        request = _request(prompts, strategy, apg, mask_encoding)
        request.image = file_bytes(image)
        return _segmentations(self.call("Segment", request))

    def is_serving(self) -> bool:
        """Whether the server is loaded, warm and not draining. Raises NotServingError when no
        server answers."""
        check: Any = self._channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            # An empty request asks for the server as a whole; field 1, value 1 means SERVING.
            # Written out, so that the base install needs no health package.
            return bool(check(b"", timeout=self._timeout_s) == b"\x08\x01")
        except grpc.RpcError as error:
            raise error_of(error, self.server) from error

    def call(self, method: str, request: object) -> Any:
        """One call with this client's deadline. Raises the package's own errors."""
        try:
            return getattr(self._stub, method)(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise error_of(error, self.server) from error

    def close(self) -> None:
        """Close the connection. What the server holds expires by itself."""
        self._channel.close()


class RemoteImage:
    """Implements `contract.segmenter.EncodedImage`. It keeps the image file, so that it can encode
    again when the server holds it no longer."""

    def __init__(self, client: Client, data: bytes) -> None:
        self._client = client
        self._data = data
        self._released = False
        self._encoded = self._encode()

    @property
    def handle(self) -> str:
        """The server's name of the image."""
        return self._encoded.handle

    @property
    def height(self) -> int:
        """Height in image pixels."""
        return self._encoded.height

    @property
    def width(self) -> int:
        """Width in image pixels."""
        return self._encoded.width

    @property
    def model_digest(self) -> str:
        """The bundle that encoded the image."""
        return self._encoded.model_digest

    def segment(
        self,
        prompts: Sequence[Prompt],
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Segmentation]:
        """Answer each prompt, in order. Raises InvalidPromptError, or HandleGoneError after
        `release`; an image that the server lost is encoded again."""
        if self._released:
            raise HandleGoneError("image was released; encode it again", reason="RELEASED")
        request = _request(prompts, strategy, apg, mask_encoding)
        request.handle = self.handle
        try:
            response = self._client.call("Segment", request)
        except HandleGoneError:
            self._encoded = self._encode()
            request.handle = self.handle
            response = self._client.call("Segment", request)
        return _segmentations(response)

    def release(self) -> None:
        """Have the server forget the image; harmless when it is gone already."""
        if not self._released:
            self._released = True
            self._data = b""
            self._client.call("Release", pb.ReleaseRequest(handle=self.handle))

    def _encode(self) -> pb.EncodeResponse:
        response: pb.EncodeResponse = self._client.call(
            "Encode", pb.EncodeRequest(image=self._data)
        )
        return response


def file_bytes(image: Image) -> bytes:
    """An image as the bytes of a file; arrays become PNG. Raises InvalidImageError."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, np.ndarray):
        check_image(image)
        _, encoded = cv2.imencode(
            ".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
        )
        return encoded.tobytes()
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise InvalidImageError(
            f"{image} cannot be read ({error.strerror}); give an image file"
        ) from error


def _request(
    prompts: Sequence[Prompt],
    strategy: StrategyName,
    apg: ApgConfig | None,
    mask_encoding: pb.MaskEncoding,
) -> pb.SegmentRequest:
    return pb.SegmentRequest(
        prompts=convert.prompts_to(prompts),
        strategy=_STRATEGIES[strategy],
        apg=None if apg is None else convert.apg_to(apg),
        mask_encoding=mask_encoding,
    )


def _segmentations(response: pb.SegmentResponse) -> list[Segmentation]:
    return [convert.segmentation_from(one, response.timings) for one in response.segmentations]
