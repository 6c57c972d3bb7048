"""Carries out what flows decide, blocking or with asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from apsam_serve.client.calls import Effect, Flow
from apsam_serve.errors import ApsamError

T = TypeVar("T")


def run(flow: Flow[T], do: Callable[[Effect], Any]) -> T:
    """Do each effect of a flow until it returns."""
    try:
        effect = next(flow)
        while True:
            try:
                result = do(effect)
            except ApsamError as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as done:
        value: T = done.value
        return value


async def run_async(flow: Flow[T], do: Callable[[Effect], Awaitable[Any]]) -> T:
    """Likewise; a cancelled caller ends it where it is."""
    try:
        effect = next(flow)
        while True:
            try:
                result = await do(effect)
            except ApsamError as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as done:
        value: T = done.value
        return value
