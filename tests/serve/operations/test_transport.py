"""TLS, certificates of callers, their rotation; and plaintext only where nobody listens in."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from apsam_serve.config import ServeConfig
from apsam_serve.errors import InvalidInputError
from apsam_serve.service.transport import credentials, is_local
from tests.serve.operations.certificates import LOCALHOST, Authority, Pair
from tests.serve.operations.conftest import WHO

Who = Callable[..., str]
Tls = dict[str, Path]


def ask(address: str, roots: bytes | None, pair: Pair | None = None) -> str:
    """Who the server says that calls; roots: None for plaintext."""
    if roots is None:
        channel = grpc.insecure_channel(address)
    else:
        key, certificate = (pair.key, pair.certificate) if pair else (None, None)
        given = grpc.ssl_channel_credentials(roots, key, certificate)
        channel = grpc.secure_channel(address, given)
    with channel:
        answer: bytes = channel.unary_unary(WHO)(b"", timeout=5)
    return answer.decode()


def refused(address: str, roots: bytes | None, pair: Pair | None = None) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        ask(address, roots, pair)
    code: grpc.StatusCode = caught.value.code()
    return code


def test_a_server_with_tls_alone_answers_callers_without_certificates(
    who: Who, tls: Tls, authority: Authority
) -> None:
    del tls["tls_client_ca"]
    assert ask(who(**tls), authority.pem) == "anonymous"


@pytest.mark.parametrize(
    ("common_name", "names", "expected"),
    [
        ("station-7", (), "station-7"),
        ("station-7", (x509.DNSName("lane3.example"),), "lane3.example"),
        (
            "station-7",
            (
                x509.DNSName("lane3.example"),
                x509.UniformResourceIdentifier("spiffe://airport/lane/3"),
            ),
            "spiffe://airport/lane/3",
        ),
        ("station-7", (x509.RFC822Name("someone@example"),), "station-7"),
    ],
)
def test_the_identity_is_the_first_uri_else_dns_name_else_the_common_name(
    who: Who,
    tls: Tls,
    authority: Authority,
    common_name: str,
    names: tuple[x509.GeneralName, ...],
    expected: str,
) -> None:
    assert ask(who(**tls), authority.pem, authority.issue(common_name, *names)) == expected


def test_callers_are_refused_who_are_not_whom_the_server_trusts(
    who: Who, tls: Tls, authority: Authority, stranger: Authority
) -> None:
    address = who(**tls)
    ours = authority.issue("station-7")
    expired = authority.issue("station-7", lasts=timedelta(minutes=-1))
    refusals = {
        "no certificate": refused(address, authority.pem),
        "another authority's certificate": refused(
            address, authority.pem, stranger.issue("station-7")
        ),
        "an expired certificate": refused(address, authority.pem, expired),
        "a caller that trusts another authority": refused(address, stranger.pem, ours),
        "plaintext": refused(address, None),
    }
    assert set(refusals.values()) == {grpc.StatusCode.UNAVAILABLE}, refusals
    assert ask(address, authority.pem, ours) == "station-7"


def test_new_certificates_are_used_from_the_next_caller_on(
    who: Who, tls: Tls, tmp_path: Path, authority: Authority, stranger: Authority
) -> None:
    address = who(**tls)
    ours, theirs = authority.issue("ours"), stranger.issue("theirs")
    assert ask(address, authority.pem, ours) == "ours"
    stranger.issue("server", *LOCALHOST).write(tmp_path, "server")
    tls["tls_client_ca"].write_bytes(stranger.pem)
    assert refused(address, authority.pem, ours) is grpc.StatusCode.UNAVAILABLE
    assert ask(address, stranger.pem, theirs) == "theirs"


@pytest.mark.parametrize("broken", ["tls_key", "tls_certificate", "tls_client_ca"])
def test_broken_new_certificates_leave_the_old_ones_in_use_and_are_logged_once(
    who: Who, tls: Tls, authority: Authority, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    address, ours = who(**tls), authority.issue("ours")
    tls[broken].write_text("half a fi")
    with caplog.at_level(logging.ERROR, "apsam_serve.service"):
        assert ask(address, authority.pem, ours) == "ours"
        assert ask(address, authority.pem, ours) == "ours"
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert line.startswith("new certificates are not used, the old ones stay: --tls-c")
    tls[broken].unlink()
    assert ask(address, authority.pem, ours) == "ours"


@pytest.mark.parametrize(
    ("left", "message"),
    [
        (["tls_key"], r"^--tls-key \S+ without --tls-certificate; give --tls-key and"),
        (["tls_certificate"], r"^--tls-certificate \S+ without --tls-key; give"),
        (["tls_client_ca"], r"^--tls-client-ca \S+ without --tls-key; give"),
    ],
)
def test_half_a_pair_is_refused_by_name(tls: Tls, left: list[str], message: str) -> None:
    config = ServeConfig(bundle=Path("none"), **{name: tls[name] for name in left})  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=message):
        credentials(config)


def test_files_that_are_no_pair_are_refused_by_name(
    tls: Tls, tmp_path: Path, authority: Authority
) -> None:
    other, _ = authority.issue("other").write(tmp_path, "other")
    locked, certificate = authority.issue("locked", password=b"secret").write(tmp_path, "locked")
    for changes in (
        {"tls_key": other},
        {"tls_certificate": tmp_path / "gone.pem"},
        {"tls_key": locked, "tls_certificate": certificate},
    ):
        config = ServeConfig(bundle=Path("none"), **{**tls, **changes})  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match=r"are no pair that can be read \(.*give PEM"):
            credentials(config)
    tls["tls_client_ca"].write_text("")
    with pytest.raises(InvalidInputError, match=r"^--tls-client-ca \S+ cannot be read"):
        credentials(ServeConfig(bundle=Path("none"), **tls))  # type: ignore[arg-type]


@pytest.mark.parametrize("listen", ["0.0.0.0:50051", "[::]:50051", "192.0.2.1:1"])
def test_plaintext_beyond_this_machine_is_refused_unless_allowed(listen: str) -> None:
    config = ServeConfig(bundle=Path("none"), listen=listen)
    expected = re.escape(f"--listen '{listen}' is reached from other machines and has no TLS; give")
    with pytest.raises(InvalidInputError, match=expected):
        credentials(config)
    allowed = ServeConfig(bundle=Path("none"), listen=listen, allow_plaintext=True)
    assert credentials(allowed) is None


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:0", "127.8.8.8:1", "[::1]:50051", "localhost:1", "unix:/run/apsam.sock"]
)
def test_plaintext_on_this_machine_needs_no_permission(listen: str) -> None:
    assert is_local(listen)
    assert credentials(ServeConfig(bundle=Path("none"), listen=listen)) is None


def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"host 'no\.such\.invalid' has no address"):
        is_local("no.such.invalid:1")
