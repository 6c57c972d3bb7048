"""Who may call what, and how often."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from apsam_serve.errors import (
    ApsamError,
    InvalidInputError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
)
from apsam_serve.service.access import METHODS, Access, Rule, Rules, read
from apsam_serve.service.identity import named_by

FILE = """
[identity."station-7"]
methods = ["CreateEmbedding", "Segment"]
rate = 20.0
burst = 40

[identity."spiffe://airport/lane/3"]
methods = "*"

[default]
methods = ["GetServerInfo"]
rate = 0.5
"""


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def file(text: str) -> Path:
        (tmp_path / "access.toml").write_text(text)
        return tmp_path / "access.toml"

    return file


def test_a_file_says_methods_rate_and_burst_of_each_identity(
    write: Callable[[str], Path],
) -> None:
    rules = read(write(FILE))
    assert rules.rule_of("station-7") == Rule(
        methods=frozenset(["CreateEmbedding", "Segment"]), rate=20, burst=40
    )
    assert rules.rule_of("spiffe://airport/lane/3") == Rule(methods=frozenset("*"))
    assert rules.rule_of("anyone") == Rule(methods=frozenset(["GetServerInfo"]), rate=0.5, burst=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default", r"access\.toml cannot be read as TOML \(.*; see docs/operations\.md"),
        ("[other]", r"access\.toml: key 'other' is unknown; use identity, default"),
        ("identity = 3", r"identity is 3; write tables like \[identity\.\"station-7\"\]"),
        ("default = 3", r"\[default\] is 3; write a table with methods, rate and burst"),
        ("[default]", r"\[default\]: methods is None; give a list of names, or \"\*\""),
        ("[default]\nmethods = 'Segment'", r"methods is 'Segment'; give a list"),
        ("[default]\nmethods = ['Segmet']", r"methods has 'Segmet'; choose from GetServerInfo, "),
        ("[default]\nmethods = [7]", r"methods has 7; choose from"),
        ("[default]\nmethods = '*'\nrat = 1", r"\[default\]: key 'rat' is unknown; use methods, "),
        ("[default]\nmethods = '*'\nrate = 0", r"rate is 0; give a number above 0"),
        ("[default]\nmethods = '*'\nrate = nan", r"rate is nan; give a number above 0"),
        ("[default]\nmethods = '*'\nrate = true", r"rate is True; give a number above 0"),
        ("[default]\nmethods = '*'\nburst = 4", r"burst is 4\.0; give 1 or more, and a rate"),
        ("[default]\nmethods = '*'\nrate = 1\nburst = 0.5", r"burst is 0\.5; give 1 or more"),
        ("[identity.a]\nmethods = '*'\nrate = 'x'", r"\[identity\.\"a\"\]: rate is 'x'; give"),
    ],
)
def test_a_wrong_file_is_refused_with_file_key_value_and_fix(
    write: Callable[[str], Path], text: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        read(write(text))
    assert "access.toml" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"^--access \S+gone\.toml cannot be read"):
        read(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("owner", "method", "error"),
    [
        ("station-7", "Segment", None),
        ("station-7", "Propose", PermissionDeniedError),
        ("station-8", "Segment", PermissionDeniedError),
        ("anonymous", "Segment", UnauthenticatedError),
        ("station-8", "Check", None),
        ("anonymous", "ServerReflectionInfo", None),
    ],
)
def test_without_a_default_only_named_identities_call_named_methods(
    owner: str, method: str, error: type[ApsamError] | None
) -> None:
    rule = Rule(methods=frozenset(["Segment"]))
    access = Access(rules=Rules(identities={"station-7": rule}, default=None))
    if error is None:
        access.require(owner, method)
        return
    with pytest.raises(error, match=re.escape(method if owner != "anonymous" else "certificate")):
        access.require(owner, method)


def test_health_is_for_those_whom_the_file_gives_it_once_it_names_it() -> None:
    rules = Rules(
        identities={"probe": Rule(methods=frozenset(["Check"]))}, default=Rule(methods=frozenset())
    )
    access = Access(rules=rules)
    access.require("probe", "Check")
    access.require("station-7", "Watch")
    with pytest.raises(PermissionDeniedError, match="'station-7' may not call Check; ask for it"):
        access.require("station-7", "Check")


def test_calls_beyond_the_rate_are_told_honestly_when_to_come_again() -> None:
    clock = Clock()
    rule = Rule(methods=frozenset("*"), rate=4, burst=2)
    access = Access(rules=Rules(identities={}, default=rule), clock=clock)
    access.require("a", "Segment")
    access.require("a", "Segment")
    with pytest.raises(RateLimitedError, match=r"more than 4 times per second.*0\.250 s") as caught:
        access.require("a", "Segment")
    assert caught.value.retry_after_s == pytest.approx(0.25)
    access.require("b", "Segment")  # has a bucket of its own
    clock.now_s += caught.value.retry_after_s
    access.require("a", "Segment")
    with pytest.raises(RateLimitedError):
        access.require("a", "Segment")
    clock.now_s += 3600
    access.require("a", "Segment")
    access.require("a", "Segment")
    with pytest.raises(RateLimitedError):
        access.require("a", "Segment")


def test_a_refused_method_takes_nothing_of_the_rate() -> None:
    rule = Rule(methods=frozenset(["Segment"]), rate=0.001, burst=1)
    access = Access(rules=Rules(identities={}, default=rule), clock=Clock())
    for _ in range(5):
        with pytest.raises(PermissionDeniedError):
            access.require("a", "Propose")
    access.require("a", "Segment")


def test_what_is_remembered_of_identities_is_bounded() -> None:
    rule = Rule(methods=frozenset("*"), rate=0.001, burst=1)
    access = Access(rules=Rules(identities={}, default=rule), clock=Clock(), max_buckets=3)
    for owner in "abcd":
        access.require(owner, "Segment")
    with pytest.raises(RateLimitedError):
        access.require("b", "Segment")
    access.require("a", "Segment")  # called longest ago, forgotten
    assert len(access._buckets) == 3


def test_rules_follow_their_file_and_stay_while_it_is_wrong(
    write: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    access = Access(rules=read(write(FILE)))
    access.require("station-7", "Segment")
    write("[default]\nmethods = 3")
    with caplog.at_level(logging.ERROR, "apsam_serve.service"):
        access.require("station-7", "Segment")
        access.require("station-7", "Segment")
        (line,) = caplog.messages
        assert re.match(r"the rules stay as they were: \S+: \[default\]: methods is 3; give", line)
        write("").unlink()
        access.require("station-7", "Segment")
        access.require("station-7", "Segment")
        assert "cannot be read" in caplog.messages[1]
        assert len(caplog.messages) == 2
    write('[identity."station-8"]\nmethods = "*"\n')
    with pytest.raises(PermissionDeniedError):
        access.require("station-7", "Segment")


def test_no_rate_means_no_bound() -> None:
    access = Access(rules=Rules(identities={}, default=Rule(methods=frozenset("*"))))
    for _ in range(1000):
        access.require("a", "Segment")
    assert access.rules.default is not None
    assert access.rules.default.rate == math.inf


def test_every_method_is_known_by_a_name_of_its_own() -> None:
    assert len(set(METHODS)) == len(METHODS)
    protos = (Path(__file__).parents[3] / "protos").rglob("*.proto")
    named = {
        name for file in protos for name in re.findall(r"^  rpc (\w+)", file.read_text(), re.M)
    }
    assert {"Segment", "ModelInfer"} <= named <= set(METHODS)


def test_a_certificate_that_names_nobody_is_no_identity() -> None:
    with pytest.raises(UnauthenticatedError, match="neither a URI, a DNS name nor a common name"):
        named_by({"x509_pem_cert": [b"..."], "x509_common_name": [b""]})
    assert named_by({"transport_security_type": [b"ssl"]}) == "anonymous"
