"""What the port speaks: TLS, TLS with client certificates, or plaintext where nobody listens in."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc

from apsam_serve.config import ServeConfig
from apsam_serve.errors import InvalidInputError

_log = logging.getLogger("apsam_serve.service")
_Stamp = tuple[tuple[int, int, int], ...]


def credentials(config: ServeConfig) -> grpc.ServerCredentials | None:
    """Credentials for the port, None for plaintext. Files that change are read again at the next
    handshake; broken new ones are logged and the old ones stay in use.

    Raises InvalidInputError for half a pair, for files that are no pair, and for plaintext beyond
    this machine without `--allow-plaintext`.
    """
    files = _files(config)
    if files is None:
        _check_plaintext(config)
        return None
    source = _Source(files)
    return grpc.dynamic_ssl_server_credentials(
        source.initial,
        source.renewed,  # type: ignore[arg-type] # the stub leaves out None, "no change"
        require_client_authentication=files.client_ca is not None,
    )


@dataclass(frozen=True, kw_only=True)
class _Files:
    key: Path
    certificate: Path
    client_ca: Path | None

    def stamp(self) -> _Stamp:
        """Changes with any of the files, also when a link leads elsewhere."""
        paths = (self.key, self.certificate, *([self.client_ca] if self.client_ca else []))
        return tuple(_stamp(path) for path in paths)

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Raises InvalidInputError for files that cannot be read or are no pair."""
        try:
            key, certificate = self.key.read_bytes(), self.certificate.read_bytes()
            # gRPC finds a key that is not the certificate's only when a caller comes.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.certificate, self.key, password=""
            )
        except (OSError, ValueError) as error:
            raise InvalidInputError(
                f"--tls-certificate {self.certificate} and --tls-key {self.key} are no pair that "
                f"can be read ({error}); give PEM files, the key without a password"
            ) from error
        return grpc.ssl_server_certificate_configuration([(key, certificate)], self._roots())

    def _roots(self) -> bytes | None:
        if self.client_ca is None:
            return None
        try:
            roots = self.client_ca.read_bytes()
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(self.client_ca)
        except (OSError, ValueError) as error:
            raise InvalidInputError(
                f"--tls-client-ca {self.client_ca} cannot be read ({error}); give the PEM file of "
                "the authority that signs callers' certificates"
            ) from error
        return roots


class _Source:
    """What gRPC asks for certificates before each handshake, on threads of its own."""

    def __init__(self, files: _Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._stamp = files.stamp()  # first, so that a change meanwhile is seen the next time
        self.initial = files.read()

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """New certificates, or None while the files are as they were or cannot be used."""
        with self._lock:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return None
            self._stamp = stamp
            try:
                found = self._files.read()
            except InvalidInputError as error:
                _log.error("new certificates are not used, the old ones stay: %s", error)
                return None
            _log.info("new certificates are in use: %s", self._files.certificate)
            return found


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _files(config: ServeConfig) -> _Files | None:
    key, certificate, client_ca = config.tls_key, config.tls_certificate, config.tls_client_ca
    if key is not None and certificate is not None:
        return _Files(key=key, certificate=certificate, client_ca=client_ca)
    if key is None and certificate is None and client_ca is None:
        return None
    missing = "--tls-key" if key is None else "--tls-certificate"
    given = [
        f"{option} {path}"
        for option, path in (
            ("--tls-key", key),
            ("--tls-certificate", certificate),
            ("--tls-client-ca", client_ca),
        )
        if path is not None
    ]
    raise InvalidInputError(
        f"{' and '.join(given)} without {missing}; give --tls-key and --tls-certificate both, or "
        "no --tls option at all"
    )


def _check_plaintext(config: ServeConfig) -> None:
    if config.allow_plaintext or is_local(config.listen):
        return
    raise InvalidInputError(
        f"--listen {config.listen!r} is reached from other machines and has no TLS; give --tls-key "
        "and --tls-certificate, listen on 127.0.0.1, or add --allow-plaintext where the network "
        "itself is trusted"
    )


def is_local(listen: str) -> bool:
    """Whether only this machine reaches that address: a socket file, or a host all of whose
    addresses are loopback. Raises InvalidInputError for a host that has none."""
    if listen.startswith(("unix:", "unix-abstract:")):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidInputError(
            f"--listen {listen!r}: host {host!r} has no address ({error}); give a name or address "
            "of this machine"
        ) from error
    addresses = {str(address[0]).partition("%")[0] for *_, address in found}
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)
