"""Certificates, records of calls, and a server that says who calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from apsam_serve.config import ServeConfig
from apsam_serve.service.calls import CallRecord
from apsam_serve.service.identity import named_by
from apsam_serve.service.transport import credentials
from tests.serve.operations.certificates import LOCALHOST, Authority, Pair

WHO = "/test.Who/AmI"


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority("our authority")


@pytest.fixture(scope="session")
def stranger() -> Authority:
    return Authority("another authority")


@pytest.fixture(scope="session")
def server_pair(authority: Authority) -> Pair:
    return authority.issue("server", *LOCALHOST)


@pytest.fixture
def tls(tmp_path: Path, authority: Authority, server_pair: Pair) -> dict[str, Path]:
    """Settings of a server with TLS and client certificates."""
    key, certificate = server_pair.write(tmp_path, "server")
    client_ca = tmp_path / "authority.pem"
    client_ca.write_bytes(authority.pem)
    return {"tls_key": key, "tls_certificate": certificate, "tls_client_ca": client_ca}


@pytest.fixture
def who() -> Iterator[Callable[..., str]]:
    """Starts servers that answer with the caller's identity: `who(tls_key=...)` is an address."""
    servers: list[grpc.Server] = []

    def start(**settings: object) -> str:
        found = credentials(ServeConfig(bundle=Path("none"), **settings))  # type: ignore[arg-type]
        assert found is not None
        server = grpc.server(ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(
            lambda request, context: named_by(context.auth_context()).encode()
        )
        service, method = WHO.strip("/").split("/")
        server.add_registered_method_handlers(service, {method: handler})
        port = server.add_secure_port("127.0.0.1:0", found)
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait()


@pytest.fixture
def record() -> Callable[..., CallRecord]:
    """Records of calls: `record(method="Segment")`."""

    def build(**changes: object) -> CallRecord:
        given: dict[str, object] = {
            **{"method": "Segment", "owner": "station-7", "peer": "ipv4:10.0.0.7:4242"},
            **{"code": "OK", "reason": "", "seconds": 0.012, "request_id": "0b6f"},
            **{"handle": "abcd1234.x", "image_digest": "1" * 64, "model_digest": "2" * 64},
            **{"prompt_digest": "3" * 64, "mask_digests": ("4" * 64,)},
            "timings_s": {"queue": 0.001, "decode_1": 0.004, "points": 0.001, "decode_2": 0.004},
            **changes,
        }
        return CallRecord(**given)  # type: ignore[arg-type]

    return build
