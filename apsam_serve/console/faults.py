"""Errors as the page receives them: {"error": {"reason", "message", "fix"}} and a status."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from apsam_serve.errors import (
    ApsamError,
    DeadlineExceededError,
    HandleGoneError,
    InvalidInputError,
    NotInProjectError,
    NotServingError,
    OutputExistsError,
    OverloadedError,
    PermissionDeniedError,
    ProjectError,
    RateLimitedError,
    UnauthenticatedError,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = logging.getLogger("apsam_serve.console")

_STATUS: Final[tuple[tuple[type[ApsamError], HTTPStatus], ...]] = (
    (OutputExistsError, HTTPStatus.CONFLICT),
    (InvalidInputError, HTTPStatus.BAD_REQUEST),
    (NotInProjectError, HTTPStatus.NOT_FOUND),
    (ProjectError, HTTPStatus.INSUFFICIENT_STORAGE),
    (UnauthenticatedError, HTTPStatus.BAD_GATEWAY),
    (PermissionDeniedError, HTTPStatus.BAD_GATEWAY),
    (HandleGoneError, HTTPStatus.CONFLICT),
    (RateLimitedError, HTTPStatus.TOO_MANY_REQUESTS),
    (OverloadedError, HTTPStatus.SERVICE_UNAVAILABLE),
    (NotServingError, HTTPStatus.SERVICE_UNAVAILABLE),
    (DeadlineExceededError, HTTPStatus.GATEWAY_TIMEOUT),
    (ApsamError, HTTPStatus.BAD_GATEWAY),
)
"""The first that fits."""
_FIXES: Final[tuple[tuple[type[ApsamError], str], ...]] = (
    (NotServingError, "start apsam-serve there, or apsam-console with --server of one that runs"),
    (DeadlineExceededError, "try again; where it stays slow, start apsam-console with --timeout-s"),
    (OverloadedError, "wait a moment, then try again"),
    (HandleGoneError, "click again"),
    (UnauthenticatedError, "start apsam-console with --tls-key and --tls-certificate"),
    (InvalidInputError, "change what was sent"),
    (ApsamError, "try again; the service's log says more"),
)
"""For messages that end without one."""
_AWAY_S = 2.0
"""When to ask again for a service that is away, which nobody can tell."""


def problem(
    status: HTTPStatus, reason: str, message: str, fix: str, *, retry_after_s: float | None = None
) -> web.Response:
    """An error for the page."""
    error: dict[str, object] = {"reason": reason, "message": message, "fix": fix}
    headers = {}
    if retry_after_s is not None:
        error["retry_after_s"] = retry_after_s
        headers["Retry-After"] = str(math.ceil(retry_after_s))
    return web.json_response({"error": error}, status=status, headers=headers)


def problem_of(error: ApsamError) -> web.Response:
    """Messages of this package end in the fix, behind the last semicolon."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    message, _, fix = str(error).rpartition("; ")
    if not message:
        message, fix = fix, next(fix for kind, fix in _FIXES if isinstance(error, kind))
    retry_after_s = error.retry_after_s if isinstance(error, OverloadedError) else None
    if isinstance(error, NotServingError):
        retry_after_s = _AWAY_S
        if error.reason == NotServingError.reason:
            message, fix = str(error), _FIXES[0][1]
    return problem(status, error.reason, message, fix, retry_after_s=retry_after_s)


@web.middleware
async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into one that the page can show."""
    try:
        return await handler(request)
    except ApsamError as error:
        return problem_of(error)
    except web.HTTPRequestEntityTooLarge as error:
        return problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "TOO_LARGE",
            error.text or "the request is too large",
            "send a smaller file, compressed if need be",
        )
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        what = f"{request.method} {request.path}: {error.reason}"
        return problem(HTTPStatus(error.status), "HTTP", what, "reload the page")
    except Exception:
        _log.exception("%s %s failed", request.method, request.rel_url.raw_path)
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "the console failed at this",
            "try again; what apsam-console printed says more",
        )
