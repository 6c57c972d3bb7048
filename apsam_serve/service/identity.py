"""Who calls, by the client's certificate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from apsam_serve.engine.calls import ANONYMOUS
from apsam_serve.errors import UnauthenticatedError

_NAMES = ("peer_uri", "peer_dns", "x509_common_name")
"""gRPC's names of what a verified certificate says, the one that counts first: the URIs and the DNS
names among its alternative names, then the common name of its subject."""
_CERTIFICATE = "x509_pem_cert"


def owner_of(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """The caller's identity, ANONYMOUS without a client certificate.

    Raises UnauthenticatedError for a certificate that names nobody.
    """
    return named_by(context.auth_context())


def named_by(certificate: Mapping[str, Iterable[bytes]]) -> str:
    """The identity in gRPC's account of the caller's certificate, see `owner_of`."""
    for name in _NAMES:
        for value in certificate.get(name, ()):
            if value:
                return value.decode("utf-8", errors="backslashreplace")
    if _CERTIFICATE in certificate:
        raise UnauthenticatedError(
            "the certificate has neither a URI, a DNS name nor a common name; ask for one that "
            "names the station"
        )
    return ANONYMOUS
