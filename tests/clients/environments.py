"""Foreign clients in environments of their own, with pinned versions, kept under `out/clients`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "out/clients"
_INSTALL_S = 600
_READY = "installed"


class NotToBeHadError(Exception):
    """A client could not be installed here; the message says why."""


class ClientError(Exception):
    """A client ran, and not as it should have; the message says what it said."""


def run(
    *command: str | Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 120,
    may_fail: bool = False,
) -> str:
    """What a command printed, both streams. Raises ClientError unless it ends with 0."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=env,
            timeout=timeout_s,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientError(f"{words[0]} did not end within {timeout_s} s") from error
    printed = done.stdout.decode("utf-8", errors="replace")
    if done.returncode and not may_fail:
        raise ClientError(f"{Path(words[0]).name} ended with {done.returncode}: {printed[-2000:]}")
    return printed


def python_with(name: str, *packages: str, options: Sequence[str] = ()) -> Path:
    """A virtual environment with exactly these packages. Returns its folder."""

    def install(folder: Path) -> None:
        run(sys.executable, "-m", "venv", folder)
        pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", *options, *packages]
        run(*pip, timeout_s=_INSTALL_S)

    return _once(name, " ".join([*options, *packages]), install)


def node_with(name: str, packages: Mapping[str, str]) -> Path:
    """A folder with these packages under `node_modules`."""
    needed_tool("node")
    needed_tool("npm")

    def install(folder: Path) -> None:
        folder.mkdir(parents=True)
        package = {"name": f"apsam-{name}", "private": True, "dependencies": dict(packages)}
        (folder / "package.json").write_text(json.dumps(package))
        run("npm", "install", "--no-audit", "--no-fund", cwd=folder, timeout_s=_INSTALL_S)

    return _once(name, json.dumps(packages, sort_keys=True), install)


def debian_with(name: str, *packages: str) -> Path:
    """Debian packages unpacked into a folder, nothing of the machine is changed."""
    needed_tool("apt-get")
    needed_tool("dpkg")

    def install(folder: Path) -> None:
        folder.mkdir(parents=True)
        run("apt-get", "download", *packages, cwd=folder, timeout_s=_INSTALL_S)
        for archive in sorted(folder.glob("*.deb")):
            run("dpkg", "-x", archive, folder)

    return _once(name, " ".join(packages), install)


def needed_tool(name: str) -> Path:
    """Where a program of this machine is. Raises NotToBeHadError."""
    found = shutil.which(name)
    if found is None:
        raise NotToBeHadError(f"{name} is not on this machine")
    return Path(found)


def _once(name: str, pinned: str, install: Callable[[Path], None]) -> Path:
    folder = CACHE / name
    ready = CACHE / f"{name}.{_READY}"
    if not (ready.exists() and ready.read_text() == pinned):
        shutil.rmtree(folder, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        try:
            install(folder)
        except (ClientError, OSError) as error:
            raise NotToBeHadError(f"cannot be installed: {_last_line(str(error))}") from error
        ready.write_text(pinned)
    return folder


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no reason was given"
