"""What is tried again, and when.

| error | what the client does |
|---|---|
| OverloadedError, RateLimitedError, OutOfMemoryError | asks again after the server's delay |
| NotServingError (draining, no answer, connection broken) | asks again after a growing pause |
| HandleGoneError | encodes the image again, once per call, and asks again |
| MaskGoneError | nothing: that mask cannot be made again, and another would be a surprise |
| all others | nothing: the same call would fail again, or its time is over |

The only server there is, once it has answered, is waited for as long as the deadline allows: it
restarts. Otherwise there are `max_attempts`.

Every attempt of a request carries the same request id, so a server that had done the work answers
without doing it twice. All attempts share the call's deadline: a pause that would outlast it is not
begun, and the refusal is raised at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from apsam_serve.errors import ApsamError, InvalidInputError, NotServingError, OverloadedError

REFUSALS = (OverloadedError, NotServingError)
"""Errors of a moment: nothing was done, or what was done is found again by its request id."""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """max_attempts: of one request, 1 for no retries; where any of several servers may answer, one
    attempt asks each of them. first_pause_s doubles up to max_pause_s; jitter: every pause is up to
    this share longer, never shorter. Raises InvalidInputError."""

    max_attempts: int = 4
    first_pause_s: float = 0.1
    max_pause_s: float = 2.0
    jitter: float = 0.25

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise InvalidInputError(f"max_attempts is {self.max_attempts}; give 1 or more")

    def pause_s(self, error: ApsamError, *, attempt: int, chance: float) -> float:
        """How long to wait after the attempt (from 1) that ended so. chance: 0 to 1."""
        asked_s = error.retry_after_s if isinstance(error, OverloadedError) else 0.0
        growing_s = min(self.max_pause_s, self.first_pause_s * 2 ** (attempt - 1))
        return (asked_s or growing_s) * (1 + self.jitter * chance)
