"""Keeps other web pages out: a browser that visits them can reach 127.0.0.1 too.

A page of another site can point its own name at 127.0.0.1 (DNS rebinding), so only names that this
console was given are answered. It can send forms and files unasked, and ask for what takes long, so
the API, and whatever changes anything, is for this console's own page. And nothing here may be
framed, embedded or sniffed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from apsam_serve.console.faults import Handler, problem

_READS = ("GET", "HEAD")
_LOOPBACK_NAME = "localhost"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Hosts:
    """Whom a request may be for. names: what the console listens on, and is called.

    Any address in numbers is allowed where the console listens on all of them, and of this machine
    where it listens on that; nobody can point a number elsewhere. The port is not looked at, so
    that it may be forwarded.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name.lower() for name in names}
        addresses = [one for one in map(_address, self._names) if one is not None]
        self._everywhere = any(one.is_unspecified for one in addresses)
        self._here = self._everywhere or any(one.is_loopback for one in addresses)
        self._here = self._here or _LOOPBACK_NAME in self._names

    def allow(self, host: str) -> bool:
        """Whether a Host header names this console."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self._names:
            return True
        address = _address(name)
        if address is None:
            return self._here and name == _LOOPBACK_NAME
        return self._everywhere or (self._here and address.is_loopback)


def guard(hosts: Hosts) -> Middleware:
    """Answers 403 to what is not from this console's own page."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = _refusal(request, hosts)
        return await handler(request) if refusal is None else refusal

    return check


async def mark(_: web.Request, response: web.StreamResponse) -> None:
    """Says with every answer what browsers may do with it."""
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-cache")  # or an upgrade meets an old page


def _refusal(request: web.Request, hosts: Hosts) -> web.Response | None:
    host = request.headers.get("Host", "")
    if not hosts.allow(host):
        return problem(
            HTTPStatus.FORBIDDEN,
            "FOREIGN_HOST",
            f"this console is not {host[:100]!r}",
            "open the address that apsam-console printed, or start it with --host of that name",
        )
    opens_page = request.method in _READS and not request.path.startswith("/api/")
    if opens_page or _is_own(request, host):
        return None
    return problem(
        HTTPStatus.FORBIDDEN,
        "FOREIGN_PAGE",
        "another web page has asked for this",
        "close that page, and work in the console's own",
    )


def _is_own(request: web.Request, host: str) -> bool:
    """Programs send neither header; browsers send the first with everything that may change
    something, and the second with everything."""
    origin = request.headers.get("Origin")
    if origin is not None:
        return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())
    return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
