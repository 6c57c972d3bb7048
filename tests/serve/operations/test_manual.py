"""The commands of docs/operations.md work, in their order."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apsam_serve.audit_cli import main as audit_main
from apsam_serve.cli import _parser
from apsam_serve.service.access import read
from apsam_serve.service.audit import AuditLog
from apsam_serve.service.calls import CallRecord

MANUAL = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
COMMANDS = {
    "apsam-serve": "apsam_serve.cli",
    "apsam-client": "apsam_serve.client_cli",
    "apsam-audit": "apsam_serve.audit_cli",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", MANUAL, re.DOTALL | re.MULTILINE)


def block(start: str) -> str:
    """The shell block that begins so, or whose first command does."""
    (found,) = [text for text in blocks("sh") if text.startswith(start)]
    return found


@pytest.fixture
def folder(tmp_path: Path, tiny_bundle: Path) -> Path:
    """Where the manual's reader works: commands on the path, a bundle, the access file."""
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    (tmp_path / "access.toml").write_text(blocks("toml")[0])
    (tmp_path / "bin").mkdir()
    for name, module in COMMANDS.items():
        file = tmp_path / "bin" / name
        call = f"import sys; from {module} import main; sys.exit(main())"
        file.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{call}' \"$@\"\n")
        file.chmod(0o755)
    return tmp_path


@pytest.fixture
def shell(folder: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts `bash -e` there."""
    started: list[subprocess.Popen[str]] = []
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    root = str(Path(__file__).parents[3])

    def run(text: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PATH": path, "PYTHONPATH": root}
        started.append(
            subprocess.Popen(
                ["bash", "-e", "-c", text],
                **{"cwd": folder, "env": environment, "text": True},
                **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT},
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the manual's commands need openssl")
def test_a_server_is_set_up_asked_rotated_verified_and_stopped_as_the_manual_says(
    shell: Callable[[str], subprocess.Popen[str]], folder: Path, bag_png: bytes
) -> None:
    (folder / "bag.png").write_bytes(bag_png)

    def done(text: str) -> str:
        process = shell(text)
        shown = process.communicate(timeout=30)[0]
        assert process.returncode == 0, f"{text}\n{shown}"
        return shown

    done(block("issue()"))
    metrics_port = _free_port()
    server = shell("exec " + _with_ports(block("apsam-serve"), "0", metrics_port))
    port = _port_of(server)
    done(_with_ports(block("apsam-client health"), port))
    assert "sound" in done(block("apsam-audit verify audit.jsonl"))
    rotated = done(_with_ports(block("mv "), port))
    assert rotated.count(": sound, ") == 2
    assert "continues the file that ends in" in rotated
    curl = _with_ports(block("curl"), port, metrics_port)
    assert 'method="Segment"' in done(curl)
    server.send_signal(signal.SIGTERM)
    logged = server.communicate(timeout=10)[0]
    assert server.returncode == 0
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    calls = {(line["method"], line["owner"]) for line in lines if line["event"] == "request"}
    assert ("Segment", "station-7") in calls
    assert audit_main(["verify", str(folder / "audit.jsonl")]) == 0


def _with_ports(text: str, port: str, metrics_port: str = "9464") -> str:
    return text.replace("50051", port).replace("9464", metrics_port)


def _port_of(server: subprocess.Popen[str]) -> str:
    """The port that a server has found, once it serves."""
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"serving \w+ on [\d.]+:(\d+)", line):
            return found[1]
    raise AssertionError("the server did not start")


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return str(probe.getsockname()[1])


def test_the_manuals_access_file_is_one(folder: Path) -> None:
    rules = read(folder / "access.toml")
    assert set(rules.identities) == {"station-7", "spiffe://airport/supervisor"}
    assert rules.default is not None


def test_every_option_of_the_manual_is_an_option() -> None:
    units = [*blocks("ini"), *blocks("yaml"), *blocks("sh")]
    shown = {option for unit in units for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", unit)}
    known = _parser().format_help()
    others = {"--server", "--tls-ca", "--silent", "--click"}
    assert {option for option in shown - others if option not in known} == set()


def test_the_manuals_service_files_start_servers_that_are_possible() -> None:
    (unit,) = blocks("ini")
    command = re.search(r"^ExecStart=(.*?[^\\])$", unit, re.DOTALL | re.MULTILINE)
    assert command is not None
    words = command[1].replace("\\\n", " ").split()
    options = _parser().parse_args(words[1:])
    stop_s = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert stop_s is not None
    assert int(stop_s[1]) > options.grace_s
    (pod,) = blocks("yaml")
    arguments = re.findall(r"^ +- (--\S+)$", pod, re.MULTILINE)
    kept_s = re.search(r"^terminationGracePeriodSeconds: (\d+)$", pod, re.MULTILINE)
    assert kept_s is not None
    assert int(kept_s[1]) > _parser().parse_args(arguments).grace_s


def test_the_fields_that_the_manual_promises_of_the_audit_log_are_in_it(
    record: Callable[..., CallRecord], tmp_path: Path
) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.open()
    log.finished(record())
    log.close()
    last = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[-1])
    promised = re.search(r"One JSON object per line: (.*?), SHA-256", MANUAL, re.DOTALL)
    assert promised is not None
    assert set(re.findall(r"`(\w+)`", promised[1])) <= set(last)
