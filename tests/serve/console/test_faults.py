"""Errors as the page is told."""

from __future__ import annotations

import json

import pytest

from apsam_serve.console.faults import problem_of
from apsam_serve.errors import (
    ApsamError,
    AuditFailedError,
    DeadlineExceededError,
    DeviceFaultError,
    HandleGoneError,
    InvalidImageError,
    NotInProjectError,
    NotServingError,
    OutputExistsError,
    OverloadedError,
    ProjectError,
    RateLimitedError,
    UnauthenticatedError,
)


@pytest.mark.parametrize(
    ("error", "status", "fix"),
    [
        (InvalidImageError("a; b; send a PNG"), 400, "send a PNG"),
        (InvalidImageError("no fix"), 400, "change what was sent"),
        (NotInProjectError("project has no image 7; list them again"), 404, "list them again"),
        (OutputExistsError("x exists already; remove it first"), 409, "remove it first"),
        (HandleGoneError("image was released", reason="DELETED"), 409, "click again"),
        (ProjectError("disk is full; free some"), 507, "free some"),
        (UnauthenticatedError("who are you"), 502, "--tls-key"),
        (DeadlineExceededError("too slow"), 504, "--timeout-s"),
        (NotServingError("no server answers at a:1 (x); is it there?"), 503, "start apsam-serve"),
        (AuditFailedError("the log is full; free its disk"), 503, "free its disk"),
        (DeviceFaultError("device failed"), 502, "the service's log says more"),
        (ApsamError("server answered UNKNOWN: x"), 502, "try again"),
    ],
)
def test_every_error_has_a_status_and_a_fix(error: ApsamError, status: int, fix: str) -> None:
    answer = problem_of(error)
    told = json.loads(answer.text or "")["error"]
    assert answer.status == status
    assert told["reason"] == error.reason
    assert fix in told["fix"]
    assert told["message"] in str(error)


@pytest.mark.parametrize(
    ("error", "status", "retry_after_s"),
    [
        (OverloadedError("queue is full", retry_after_s=0.25), 503, 0.25),
        (RateLimitedError("too often; wait", retry_after_s=3.0), 429, 3.0),
        (NotServingError("draining"), 503, 2.0),
    ],
)
def test_what_passes_by_itself_says_when_to_ask_again(
    error: ApsamError, status: int, retry_after_s: float
) -> None:
    answer = problem_of(error)
    assert answer.status == status
    assert json.loads(answer.text or "")["error"]["retry_after_s"] == retry_after_s
    assert int(answer.headers["Retry-After"]) >= retry_after_s
