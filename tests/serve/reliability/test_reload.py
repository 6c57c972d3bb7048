"""Another bundle while the server works: a bad one changes nothing, a good one costs no call."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.contract.manifest import MANIFEST_NAME
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.reliability.asking import ask, ask_aio, click, connect, connect_aio, create, hold
from tests.serve.reliability.behaviour import Behaviour
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import percentile, report, scaled
from tests.serve.reliability.server_process import ServerProcess, until

SWITCHED = 'apsam_reloads_total{outcome="switched"}'
FAILED = 'apsam_reloads_total{outcome="failed"}'


@pytest.fixture
def served(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A link to the bundle that is served."""
    link = tmp_path / "current"
    link.symlink_to(tiny_bundle)
    return link


def _flip_a_byte_of_a_graph(bundle: Path) -> None:
    file = bundle / "prompt_decoder.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    _touch(bundle)


def _cut_a_graph(bundle: Path) -> None:
    file = bundle / "image_encoder.onnx"
    file.write_bytes(file.read_bytes()[:100])
    _touch(bundle)


def _name_an_unknown_format(bundle: Path) -> None:
    file = bundle / MANIFEST_NAME
    text = file.read_text("utf-8")
    changed = text.replace('"format_version": ', '"format_version": 9', 1)
    assert changed != text
    file.write_text(changed, "utf-8")


def _leave_no_manifest(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).unlink()


def _write_nonsense(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).write_bytes(b'{"a": [')


def _touch(bundle: Path) -> None:
    """Another digest, or the server would see the bundle that it runs already."""
    file = bundle / MANIFEST_NAME
    file.write_text(file.read_text("utf-8") + "\n", "utf-8")


@pytest.mark.parametrize(
    "damages",
    [
        [_flip_a_byte_of_a_graph, _cut_a_graph, _name_an_unknown_format],
        [_leave_no_manifest, _write_nonsense],
    ],
    ids=["damaged", "no bundle"],
)
def test_a_bad_bundle_on_sighup_is_counted_and_the_old_one_serves_on(
    launch: Launch,
    served: Path,
    bag_png: bytes,
    tmp_path: Path,
    damages: list[Callable[[Path], None]],
) -> None:
    server = launch(bundle=served)
    channel, stub = connect(server.address)
    with channel:
        handle, before = hold(stub, bag_png), _digests(stub)
        for number, damage in enumerate(damages):
            bad = tmp_path / f"bad-{number}"
            shutil.copytree(served.resolve(), bad)
            damage(bad)
            _lead_to(served, bad)
            server.signal(signal.SIGHUP)
            until(lambda n=number: server.metric(FAILED) == n + 1, "a refused bundle")
            assert _digests(stub) == before
            assert ask(stub.Segment, click(handle)).code == "OK"
            assert ask(stub.CreateEmbedding, create(bag_png)).code == "OK"
            assert server.health() == "SERVING"
    report("bad_bundle", num_refused=server.metric(FAILED), num_switched=server.metric(SWITCHED))
    assert server.metric(SWITCHED) == 0


def test_new_bundles_under_load_fail_no_call(
    launch: Launch, served: Path, bag_png: bytes, tiny_bundle: Path, named_bundle: Path
) -> None:
    server = launch(bundle=served, behaviour=Behaviour(decode_ms=1, encode_ms=2))
    num_switches = scaled(short=2, full=10)
    ends, seconds, digests = asyncio.run(
        _switched_under_load(server, served, bag_png, [named_bundle, tiny_bundle], num_switches)
    )
    report(
        "good_bundles",
        num_switches=num_switches,
        num_calls=ends.total(),
        num_failed=ends.total() - ends["OK"],
        call_p99_ms=1000 * percentile(seconds, 0.99),
    )
    assert ends.keys() == {"OK"}
    assert ends.total() > 20 * num_switches
    assert server.metric(SWITCHED) == num_switches
    assert server.metric(FAILED) == 0
    assert len(set(digests)) == 2  # each switch brought the other one


async def _switched_under_load(
    server: ServerProcess, served: Path, image: bytes, bundles: list[Path], num_switches: int
) -> tuple[Counter[str], list[float], list[str]]:
    """(how calls ended, their seconds, digests of the models that new images went to)."""
    ends: Counter[str] = Counter()
    seconds: list[float] = []
    digests: list[str] = []
    stopping = asyncio.Event()
    channel, stub = connect_aio(server.address)

    async def station() -> None:
        while not stopping.is_set():
            created = await ask_aio(stub.CreateEmbedding, create(image))
            ends[created.label] += 1
            if created.code != "OK":
                continue
            handle = created.reply.embedding.handle
            for _ in range(3):
                outcome = await ask_aio(stub.Segment, click(handle))
                ends[outcome.label] += 1
                seconds.append(outcome.seconds)
            deleted = pb.DeleteEmbeddingRequest(handle=handle)
            ends[(await ask_aio(stub.DeleteEmbedding, deleted)).label] += 1

    async with channel:
        stations = [asyncio.create_task(station()) for _ in range(4)]
        for number in range(num_switches):
            _lead_to(served, bundles[number % 2])
            server.signal(signal.SIGHUP)
            await asyncio.to_thread(
                until, lambda n=number: server.metric(SWITCHED) == n + 1, "a new model"
            )
            info = await stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=10)
            assert info.models[0].current
            digests.append(info.models[0].digest)
            await asyncio.sleep(0.3)
        stopping.set()
        await asyncio.gather(*stations)
    return ends, seconds, digests


def _digests(stub: Any) -> list[str]:
    info = stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=10)
    return [model.digest for model in info.models]


def _lead_to(link: Path, bundle: Path) -> None:
    """Move the link in one step."""
    new = link.with_name("next")
    new.symlink_to(bundle)
    os.replace(new, link)
