"""Another bundle under the same path: new images go to it, and nothing breaks on the way."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.contract.manifest import MANIFEST_NAME, open_bundle
from apsam_serve.service.background import BackgroundServer
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.service.asking import ask, create, metrics

Serve = Callable[..., BackgroundServer]
Connect = Callable[[BackgroundServer], Any]


@pytest.fixture
def link(tmp_path: Path, tiny_bundle: Path) -> Path:
    """Leads to `tiny_bundle`."""
    return lead(tmp_path / "current", tiny_bundle)


def lead(link: Path, bundle: Path) -> Path:
    """Make the link lead there, in one step."""
    new = link.with_suffix(".new")
    new.symlink_to(bundle)
    return new.replace(link)


def reload(server: BackgroundServer, *, insist: bool = True) -> bool:
    job = server.server.reload(insist=insist)
    return asyncio.run_coroutine_threadsafe(job, server._loop).result(10)


def outcomes(server: BackgroundServer) -> tuple[float, float]:
    """How often a reload switched and failed."""
    lines = dict(line.rsplit(" ", 1) for line in metrics(server).splitlines() if line[:1] != "#")
    return tuple(  # type: ignore[return-value]
        float(lines[f'apsam_reloads_total{{outcome="{outcome}"}}'])
        for outcome in ("switched", "failed")
    )


def test_new_images_go_to_the_new_model_and_held_ones_stay_with_theirs(
    serve: Serve, connect: Connect, link: Path, named_bundle: Path, bag_png: bytes
) -> None:
    server = serve(bundle=link)
    stub = connect(server)
    before = create(stub, bag_png).embedding
    lead(link, named_bundle)
    assert reload(server)
    after = create(stub, bag_png).embedding
    assert before.model_digest != after.model_digest == server.server.digest
    assert ask(stub, before.handle).model_digest == before.model_digest
    assert ask(stub, after.handle).segmentations[0].category
    models = stub.GetServerInfo(pb.GetServerInfoRequest()).models
    assert [(one.digest, one.current, one.num_embeddings) for one in models] == [
        (after.model_digest, True, 1),
        (before.model_digest, False, 1),
    ]
    assert list(models[0].categories) == ["Gun", "Bullet", "Laptop"]
    assert outcomes(server) == (1, 0)


def test_the_same_bundle_changes_nothing(serve: Serve, link: Path) -> None:
    server = serve(bundle=link)
    assert not reload(server)
    assert outcomes(server) == (0, 0)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: (path / "prompt_decoder.onnx").write_bytes(b"x"), "is not the file that was"),
        (lambda path: (path / MANIFEST_NAME).unlink(), "manifest.json cannot be read"),
    ],
    ids=["a changed file", "no manifest"],
)
def test_a_bad_bundle_is_logged_and_counted_and_the_old_one_serves_on(
    serve: Serve,
    connect: Connect,
    link: Path,
    fresh_bundle: Path,
    bag_png: bytes,
    harm: Callable[[Path], object],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = serve(bundle=link)
    digest = server.server.digest
    manifest = fresh_bundle / MANIFEST_NAME
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(document | {"provenance": {"made": "later"}}))
    harm(fresh_bundle)
    lead(link, fresh_bundle)
    assert not reload(server)
    assert f"the model stays {digest[:12]}: " in caplog.text
    assert message in caplog.text
    assert outcomes(server) == (0, 1)
    assert create(connect(server), bag_png).embedding.model_digest == digest


def test_a_refused_bundle_is_tried_again_only_on_demand(
    serve: Serve, link: Path, fresh_bundle: Path
) -> None:
    server = serve(bundle=link)
    document = json.loads((fresh_bundle / MANIFEST_NAME).read_text())
    (fresh_bundle / MANIFEST_NAME).write_text(json.dumps(document | {"builds": {}}))
    lead(link, fresh_bundle)
    for insist, failures in ((False, 1), (False, 1), (True, 2)):
        assert not reload(server, insist=insist)
        assert outcomes(server) == (0, failures)


def test_a_process_looks_when_it_gets_a_hangup_signal(
    link: Path, named_bundle: Path, tiny_bundle: Path
) -> None:
    options = ["--bundle", str(link), "--listen", "127.0.0.1:0", "--backend", "fake"]
    command = [sys.executable, "-m", "apsam_serve.cli", *options, "--log-format", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "serving " in line, line + process.stderr.read()
        lead(link, named_bundle)
        process.send_signal(signal.SIGHUP)
        said = json.loads(process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    digests = [open_bundle(path).digest[:12] for path in (tiny_bundle, named_bundle)]
    assert digests[0] in line
    assert said["message"] == f"new images go to model {digests[1]}"
    assert process.returncode == 0


def test_a_server_that_looks_regularly_finds_the_new_bundle(
    serve: Serve, link: Path, named_bundle: Path
) -> None:
    server = serve(bundle=link, reload_s=0.05)
    before = server.server.digest
    lead(link, named_bundle)
    deadline_s = time.monotonic() + 5
    while server.server.digest == before and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert server.server.digest != before
    assert outcomes(server) == (1, 0)
