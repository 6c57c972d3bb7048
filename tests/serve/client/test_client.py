"""The client with real servers."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.client import (
    AsyncClient,
    AttentionMap,
    Client,
    ProposeOptions,
    Retries,
    Tls,
    open_server,
)
from apsam_serve.config import ServeConfig
from apsam_serve.contract.prompts import Point, Prompt
from apsam_serve.errors import (
    HandleGoneError,
    InvalidInputError,
    InvalidPromptError,
    MaskGoneError,
    NotServingError,
)
from apsam_serve.service.background import BackgroundServer
from tests.serve.client.scripted import scripted_server
from tests.serve.client.virtual import created
from tests.serve.operations.certificates import LOCALHOST, Authority

CLICK = Prompt.click(20, 20)
QUICK = Retries(first_pause_s=0.01)


def test_held_images_sessions_and_single_calls_answer_alike(
    client: Client, bag: NDArray[np.uint8], bag_png: bytes, tmp_path: Path
) -> None:
    (tmp_path / "bag.png").write_bytes(bag_png)
    with client.encode(bag) as held, client.session() as session:
        session.image(bag_png)
        answers = [
            *client.segment(str(tmp_path / "bag.png"), [CLICK]),
            *held.segment([CLICK]),
            *session.segment([CLICK]),
        ]
        found = [client.propose(bag), held.propose(), session.propose()]
    assert all(np.array_equal(one.mask, answers[0].mask) for one in answers)
    assert [len(one) for one in found] == [len(found[0])] * 3 != [0] * 3
    assert len({one[0].click for one in found}) == 1


def test_a_mask_is_refined_by_its_id_with_all_points(
    client: Client, bag: NDArray[np.uint8]
) -> None:
    points = (Point(x=20, y=20), Point(x=30, y=30))
    with client.encode(bag) as held, client.session() as session:
        session.image(bag)
        for asked in (held, session):
            (first,) = asked.segment([CLICK], strategy="direct")
            (both,) = asked.segment([Prompt(points=points)], strategy="direct")
            (refined,) = asked.segment(
                [Prompt(points=points, mask_id=first.mask_id)], strategy="direct"
            )
            assert not np.array_equal(refined.mask, both.mask)
            with pytest.raises(MaskGoneError):
                asked.segment([Prompt(points=points, mask_id=first.mask_id + "99")])
            with pytest.raises(MaskGoneError, match="is none of image"):
                asked.segment([Prompt(points=points, mask_id="other/0")])


def test_options_of_proposals_reach_the_engine(client: Client, bag: NDArray[np.uint8]) -> None:
    assert len(client.propose(bag)) > 1
    assert len(client.propose(bag, ProposeOptions(max_proposals=1))) == 1
    assert client.propose(bag, ProposeOptions(min_score=1.0)) == []


def test_attention_is_the_same_blocking_and_with_asyncio(
    client: Client, bag: NDArray[np.uint8]
) -> None:
    async def ask() -> AttentionMap:
        async with AsyncClient(client.servers) as other, await other.encode(bag) as held:
            return await held.attention()

    with client.encode(bag) as held:
        seen, (strongest, *_) = held.attention(), held.propose()
    row, column = (
        int(strongest.click.y / seen.cell_height),
        int(strongest.click.x / seen.cell_width),
    )
    assert seen.values[row, column] == seen.values.max() > seen.values.min()
    assert np.array_equal(asyncio.run(ask()).values, seen.values)


def test_an_expired_image_is_encoded_again(client: Client, bag: NDArray[np.uint8]) -> None:
    held = client.encode(bag, ttl_s=0.05)
    first = held.handle
    time.sleep(0.1)
    with pytest.raises(HandleGoneError) as lost:
        held.info()
    assert lost.value.reason == "EXPIRED"
    assert held.segment([CLICK])[0].mask.any()
    assert held.handle != first
    assert held.renew(500).ttl_s == held.info().ttl_s == 500
    held.release()
    with pytest.raises(HandleGoneError, match="was released"):
        held.segment([CLICK])


def test_threads_may_share_a_client_and_an_image_that_is_lost(
    client: Client, bag: NDArray[np.uint8]
) -> None:
    held = client.encode(bag, ttl_s=0.05)
    time.sleep(0.1)
    held.renew(60)
    with ThreadPoolExecutor(8) as threads:
        answers = [*threads.map(lambda _: held.segment([CLICK])[0], range(40))]
    assert all(np.array_equal(one.mask, answers[0].mask) for one in answers)


def test_a_step_that_fails_leaves_the_session_usable(
    client: Client, bag: NDArray[np.uint8]
) -> None:
    with client.session() as session:
        session.image(bag)
        with pytest.raises(InvalidPromptError, match="lies outside the image of 80 x 60"):
            session.segment([Prompt.click(-1, 0)])
        assert session.segment([CLICK])[0].mask.any()


def test_a_server_says_what_it_runs(client: Client, running: BackgroundServer) -> None:
    info = client.server_info(running.address)
    assert info == client.server_info()
    assert (info.models[0].preset, info.models[0].current) == ("tiny", True)
    assert info.max_message_bytes == 16 * 2**20
    assert client.is_serving()


def test_images_of_a_dead_server_move_to_the_other(
    config: ServeConfig, bag: NDArray[np.uint8]
) -> None:
    with BackgroundServer(config) as survivor:
        with BackgroundServer(config) as victim:
            servers = [victim.address, survivor.address]
            client = Client(servers, timeout_s=10, retries=QUICK)
            held = [client.encode(bag) for _ in range(4)]
            session = client.session()
            session.image(bag)
            before = [one.segment([CLICK])[0] for one in held]
            assert [one.server_address for one in held] == servers * 2
        after = [one.segment([CLICK])[0] for one in held]
        assert [one.server_address for one in held] == [survivor.address] * 4
        assert all(np.array_equal(a.mask, before[0].mask) for a in (*before, *after))
        assert session.segment([CLICK])[0].mask.any()
        started = time.monotonic()
        assert client.encode(bag).server_address == survivor.address
        assert time.monotonic() - started < 1
        assert client.is_serving()
        with pytest.raises(NotServingError):
            client.is_serving(victim.address)
        session.close()
        client.close()


def test_a_server_that_was_restarted_gets_the_image_again(
    config: ServeConfig, bag: NDArray[np.uint8]
) -> None:
    with BackgroundServer(config) as first:
        address = first.address
        client = Client(address, timeout_s=10)
        held, session = client.encode(bag), client.session()
        session.image(bag)
        before, handle = held.segment([CLICK])[0], held.handle
    with BackgroundServer(replace(config, listen=address)):
        for asked in (held, session):
            assert np.array_equal(asked.segment([CLICK])[0].mask, before.mask)
        assert held.handle != handle
        session.close()
    client.close()


def test_an_entry_point_takes_several_servers(running: BackgroundServer) -> None:
    opened = open_server(f"127.0.0.1:1,{running.address}")
    assert opened.servers == ("127.0.0.1:1", running.address)
    assert opened.is_serving()
    opened.close()


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    authority, stranger = Authority("ours"), Authority("theirs")
    server, station = authority.issue("server", *LOCALHOST), authority.issue("station-1")
    for name, pem in (("ca", authority.pem), ("other", stranger.pem), ("text", b"no PEM")):
        (tmp_path / name).write_bytes(pem)
    key, certificate = station.write(tmp_path, "station")
    credentials = grpc.ssl_server_credentials(
        [(server.key, server.certificate)], authority.pem, require_client_auth=True
    )
    mutual = Tls(ca=tmp_path / "ca", key=key, certificate=certificate)
    refused = (None, Tls(ca=tmp_path / "ca"), Tls(ca=tmp_path / "other"))
    with scripted_server(credentials) as (address, servicer):
        servicer.outcomes = [created("h1")]
        with Client(address, tls=mutual) as client:
            assert client.encode(b"picture").handle == "h1"
        for tls in refused:
            retries = Retries(max_attempts=1)
            with (
                Client(address, tls=tls, retries=retries) as client,
                pytest.raises(NotServingError),
            ):
                client.encode(b"picture")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ca": "missing"}, r"missing cannot be read \(No such file"),
        ({"ca": "text"}, "holds no PEM block"),
        ({"key": "text"}, "give both or none"),
    ],
)
def test_tls_files_that_cannot_work_are_named(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    (tmp_path / "text").write_bytes(b"no PEM")
    tls = Tls(**{name: tmp_path / file for name, file in files.items()})
    with pytest.raises(InvalidInputError, match=message):
        Client("127.0.0.1:1", tls=tls)
