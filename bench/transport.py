"""What gRPC alone costs here, whatever is served over it: `python -m bench.transport`.

An asyncio server as the service's, in a process of its own, whose one method answers with as many
bytes as it is asked for; called by gRPC's blocking and by its asyncio client, one call after the
other, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc

from bench.measure.document import Document, Row, publish
from bench.measure.options import guarded, positive
from bench.measure.rounds import interleaved

_PATH = "/bench.Transport/Echo"
_MAX_BYTES = 32 * 2**20
_OPTIONS = [
    ("grpc.max_receive_message_length", _MAX_BYTES),
    ("grpc.max_send_message_length", _MAX_BYTES),
]
_SIZE_BYTES = 8
"""The first bytes of a request say how long the reply shall be."""


@dataclass(frozen=True, kw_only=True)
class Payload:
    """Bytes of a request, with those that say what the reply takes, and of that."""

    name: str
    request: int
    reply: int


PAYLOADS = (
    Payload(name="nothing", request=_SIZE_BYTES, reply=0),
    Payload(name="a click and its mask", request=128, reply=1800),
    Payload(name="a PNG of 300 kB", request=300_000, reply=300),
    Payload(name="512 x 512 RGB", request=512 * 512 * 3, reply=300),
    Payload(name="4 megapixels RGB", request=4_000_000 * 3, reply=300),
)
Call = Callable[[], bytes]


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=positive, default=300, help="calls of each (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the document here too")
    options = parser.parse_args(argv)
    settings = {"rounds": options.rounds}
    document = Document(benchmark="transport", settings=settings, rows=measure(options.rounds))
    publish(document, json_path=options.json)
    return 0


def measure(rounds: int) -> list[Row]:
    """A row per client and payload."""
    with served() as address, calling(address) as clients:
        cases = {
            (client, payload.name): partial(call, _message(payload), payload.reply)
            for client, call in clients.items()
            for payload in PAYLOADS
        }
        named = {f"{client}: {what}": case for (client, what), case in cases.items()}
        found = interleaved(named, rounds=rounds)
    return [
        Row(name=payload.name, group=f"{client} client", samples=found[f"{client}: {payload.name}"])
        for client in clients
        for payload in PAYLOADS
    ]


@contextmanager
def served() -> Iterator[str]:
    """HOST:PORT of an echo server in a process of its own."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    server.start()
    there.close()
    try:
        yield f"127.0.0.1:{here.recv()}"
    finally:
        here.close()  # its sign to end
        server.join()


@contextmanager
def calling(address: str) -> Iterator[dict[str, Callable[[bytes, int], bytes]]]:
    """call(request, bytes of the reply) of each client. What the asyncio client takes has a
    `run_until_complete` in it, some tens of microseconds."""
    loop = asyncio.new_event_loop()
    blocking = grpc.insecure_channel(address, options=_OPTIONS)
    unary: Any = blocking.unary_unary(_PATH)
    awaited = _opened(address)
    channel, unary_aio = loop.run_until_complete(awaited)

    async def ask(request: bytes) -> bytes:
        answer: bytes = await unary_aio(request)
        return answer

    def check(answer: bytes, num_bytes: int) -> bytes:
        assert len(answer) == num_bytes, (len(answer), num_bytes)
        return answer

    try:
        yield {
            "blocking": lambda request, reply: check(unary(request), reply),
            "asyncio": lambda request, reply: check(loop.run_until_complete(ask(request)), reply),
        }
    finally:
        blocking.close()
        loop.run_until_complete(channel.close())
        loop.close()


async def _opened(address: str) -> tuple[grpc.aio.Channel, Any]:
    """Opened on the loop that will use it."""
    channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
    unary: Any = channel.unary_unary(_PATH)
    return channel, unary


def _message(payload: Payload) -> bytes:
    return payload.reply.to_bytes(_SIZE_BYTES, "big").ljust(payload.request, b"\x5a")


def _serve(pipe: Connection) -> None:
    asyncio.run(_serve_until_closed(pipe))


async def _serve_until_closed(pipe: Connection) -> None:
    async def echo(request: bytes, context: object) -> bytes:
        return bytes(int.from_bytes(request[:_SIZE_BYTES], "big"))

    _, service, method = _PATH.split("/")
    methods: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(echo)}
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(port)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), ended.set)
    await ended.wait()
    await server.stop(None)


if __name__ == "__main__":
    sys.exit(main())
