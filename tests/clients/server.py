"""`apsam-serve` in a process of its own, over a bundle that is written here."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients.environments import ROOT, ClientError

_START_S = 60.0


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """HOST:PORT of a server with the KServe protocol; its log goes to `folder`.

    Raises ClientError when it does not start, or does not end well after SIGTERM.
    """
    bundle, log = folder / "bundle", folder / "server.log"
    _write_bundle(bundle)
    command = [sys.executable, "-m", "apsam_serve.cli", "--bundle", str(bundle)]
    options = ["--backend", "fake", "--kserve", "--listen", "127.0.0.1:0", "--threads", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options], stderr=output, stdout=output, cwd=ROOT)
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            code = process.wait(30)
    printed = log.read_text()
    if code:
        raise ClientError(f"the server ended with {code}: {printed[-2000:]}")
    if "Traceback" in printed:  # a fault that it hid from its caller
        raise ClientError(
            f"the server logged a fault: {printed[printed.index('Traceback') :][:2000]}"
        )


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    ends_s = time.monotonic() + _START_S
    while time.monotonic() < ends_s and process.poll() is None:
        found = re.search(r"serving \w+ on (\S+:\d+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.05)
    raise ClientError(f"the server did not start: {log.read_text()[-2000:]}")


def _write_bundle(path: Path) -> None:
    """With the builder of the tests, which is loaded by its path as pytest does."""
    spec = importlib.util.spec_from_file_location("bundles", ROOT / "tests/serve/conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_tiny_bundle(path, module.NAMED_MODEL)
