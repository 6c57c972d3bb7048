"""Connections: options, and what TLS needs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc

from apsam_serve.errors import InvalidInputError
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

C = TypeVar("C")
CHECK = "Check"
"""The method of the standard health service, called with an empty request."""
_CHECK_PATH = "/grpc.health.v1.Health/Check"


@dataclass(frozen=True, kw_only=True)
class Tls:
    """PEM files. ca: of the authority that signed the server's certificate, None for those that
    gRPC knows; key, certificate: this caller's own, both or none."""

    ca: Path | None = None
    key: Path | None = None
    certificate: Path | None = None


class Wires(Generic[C]):
    """One channel per address, opened when it is first needed; threads may share it. insecure,
    secure: the makers of channels of `grpc` or `grpc.aio`.

    Raises InvalidInputError for TLS files that cannot be read.
    """

    def __init__(
        self,
        insecure: Callable[..., C],
        secure: Callable[..., C],
        *,
        tls: Tls | None,
        max_message_bytes: int,
    ) -> None:
        self._insecure = insecure
        self._secure = secure
        self._credentials = credentials(tls)
        self._options = options(max_message_bytes)
        self._lock = threading.Lock()
        self._open: dict[str, tuple[C, Any]] = {}

    def method(self, address: str, name: str) -> Any:
        """A method of the service, or CHECK, at that address."""
        channel, stub = self._wire(address)
        if name == CHECK:
            unary: Any = channel
            return unary.unary_unary(_CHECK_PATH)
        return getattr(stub, name)

    def take_all(self) -> list[C]:
        """The channels that are open, to be closed; the next call opens new ones."""
        with self._lock:
            taken = [channel for channel, _ in self._open.values()]
            self._open.clear()
            return taken

    def _wire(self, address: str) -> tuple[C, Any]:
        with self._lock:
            if address not in self._open:
                channel = (
                    self._insecure(address, options=self._options)
                    if self._credentials is None
                    else self._secure(address, self._credentials, options=self._options)
                )
                stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
                self._open[address] = (channel, stub)
            return self._open[address]


def options(max_message_bytes: int) -> list[tuple[str, int]]:
    """Of every channel."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # A station behind NAT finds out in 25 s that its connection is dead.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # How often a call is tried is decided in `retries`; gRPC's own pause before it connects
        # again, 1 s and growing, would make each of those tries fail at once.
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
        # Least time for connecting: an address that swallows packets must not take the deadline.
        ("grpc.min_reconnect_backoff_ms", 3_000),
    ]


def credentials(tls: Tls | None) -> grpc.ChannelCredentials | None:
    """None for plaintext. Raises InvalidInputError for files that cannot be read."""
    if tls is None:
        return None
    if (tls.key is None) != (tls.certificate is None):
        raise InvalidInputError(
            f"key {tls.key} and certificate {tls.certificate}: one without the other is no "
            "identity; give both or none"
        )
    return grpc.ssl_channel_credentials(_pem(tls.ca), _pem(tls.key), _pem(tls.certificate))


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be read ({error.strerror}); give a PEM file"
        ) from error
    if b"-----BEGIN " not in data:
        raise InvalidInputError(f"{path} holds no PEM block; convert it to a PEM file")
    return data
