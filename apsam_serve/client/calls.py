"""One request: which server, how often, how long. Decided here, carried out by `sync` and `aio`.

A flow is a generator of effects; whoever runs it does each effect and sends its result back, or
throws the error that it ended with.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

from apsam_serve.client.retries import REFUSALS, Retries
from apsam_serve.client.routes import Routes
from apsam_serve.errors import (
    ApsamError,
    DeadlineExceededError,
    InvalidInputError,
    NotServingError,
    OverloadedError,
    RateLimitedError,
)
from apsam_serve.v1 import segmentation_pb2 as pb

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Send:
    """Send a request and answer with the reply. request: bytes where the method is
    `channels.CHECK`."""

    address: str
    method: str
    request: Message | bytes
    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Open:
    """Open a session's stream to that server."""

    address: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """Send a session's step and answer with its response; a fault is thrown."""

    request: pb.SessionRequest
    timeout_s: float


Effect: TypeAlias = Send | Pause | Open | Step
Flow: TypeAlias = Generator[Effect, Any, T]


class Calls:
    """Attempts of requests within their deadlines. timeout_s: of each call with all its attempts;
    now, chance: a clock in seconds and draws from 0 to 1."""

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        timeout_s: float,
        retries: Retries,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not timeout_s > 0:
            raise InvalidInputError(f"timeout_s is {timeout_s}; give seconds above 0")
        given = [addresses] if isinstance(addresses, str) else addresses
        self.routes = Routes(given, now=now)
        self.retries = retries
        self._timeout_s = timeout_s
        self._now = now
        self._chance = chance

    def deadline_s(self) -> float:
        """Of a call that begins now."""
        return self._now() + self._timeout_s

    def left_s(self, deadline_s: float) -> float:
        """Raises DeadlineExceededError when nothing is left."""
        left_s = deadline_s - self._now()
        if left_s <= 0:
            raise DeadlineExceededError(
                f"call took longer than {self._timeout_s} s; give it more time"
            )
        return left_s

    def anywhere(self, method: str, request: Message, deadline_s: float) -> Flow[tuple[str, Any]]:
        """The address of the first server that takes the request, and its reply."""
        return (yield from self._attempts(self.routes.in_turn, method, request, deadline_s))

    def at(self, address: str, method: str, request: Message, deadline_s: float) -> Flow[Any]:
        """The reply of that server."""
        _, reply = yield from self._attempts(lambda: [address], method, request, deadline_s)
        return reply

    def pause(self, error: ApsamError, attempt: int, deadline_s: float) -> Flow[None]:
        """Wait before the next attempt. Raises `error` where there is none."""
        seconds = self.retries.pause_s(error, attempt=attempt, chance=self._chance())
        last = attempt >= self.retries.max_attempts and not self._restarts(error)
        if last or self._now() + seconds >= deadline_s:
            raise error
        yield Pause(seconds=seconds)

    def _restarts(self, error: ApsamError) -> bool:
        """Whether to wait for a server as long as the deadline allows: the only one there is, which
        has answered before, will be back."""
        gone = isinstance(error, NotServingError) and self.retries.max_attempts > 1
        return gone and self.routes.only_one_and_known

    def _attempts(
        self,
        addresses: Callable[[], Sequence[str]],
        method: str,
        request: Message,
        deadline_s: float,
    ) -> Flow[tuple[str, Any]]:
        attempt = 0
        while True:
            attempt += 1
            refusals: list[ApsamError] = []
            for address in addresses():
                timeout_s = self.left_s(deadline_s)
                try:
                    reply = yield Send(
                        address=address, method=method, request=request, timeout_s=timeout_s
                    )
                except REFUSALS as error:
                    self._note(address, error)
                    refusals.append(error)
                    if isinstance(error, RateLimitedError):
                        break  # the others would only be made to count it too
                else:
                    self.routes.answered(address)
                    return address, reply
            yield from self.pause(_soonest(refusals), attempt, deadline_s)

    def _note(self, address: str, error: ApsamError) -> None:
        if isinstance(error, NotServingError):
            self.routes.silent(address)


def _soonest(refusals: Sequence[ApsamError]) -> ApsamError:
    """A server that said when to come again tells more than those that did not answer."""
    asked = [error for error in refusals if isinstance(error, OverloadedError)]
    return min(asked, key=lambda error: error.retry_after_s) if asked else refusals[-1]
