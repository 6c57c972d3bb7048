"""Who may call what, and how often: a TOML file of identities.

    [identity."station-7"]      # as in the station's certificate
    methods = ["CreateEmbedding", "Segment"]   # or "*"
    rate = 20.0                 # calls per second, absent for as many as come
    burst = 40                  # calls at once, absent for the rate, rounded up

    [default]                   # everyone else; absent: refused
    methods = ["GetServerInfo"]

A stream counts as one call, however many steps it has. Health and reflection are free, except that
a method which the file names anywhere is for those whom the file gives it. A file that changes is
read again at the next call; a stream that is open stays so.
"""

from __future__ import annotations

import logging
import math
import time
import tomllib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from apsam_serve.engine.calls import ANONYMOUS
from apsam_serve.errors import (
    InvalidInputError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
)
from apsam_serve.v1 import segmentation_pb2 as pb

STANDARD_METHODS = ("Check", "Watch", "List", "ServerReflectionInfo")
"""Of grpc.health.v1.Health and grpc.reflection.v1alpha.ServerReflection."""
KSERVE_METHODS = (
    *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata"),
    *("ModelInfer", "ModelConfig", "ModelStatistics", "RepositoryIndex"),
)
"""Of the KServe v2 protocol, with what Triton adds to it."""
METHODS = (
    *(
        method.name
        for service in pb.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ),
    *KSERVE_METHODS,
    *STANDARD_METHODS,
)
"""Every method that a server may have, by the name after the slash; no two services share one."""
EVERY = "*"
_KEYS = ("methods", "rate", "burst")
_MAX_BUCKETS = 1024
_GONE = (0, 0, 0)
_log = logging.getLogger("apsam_serve.service")

Stamp = tuple[int, int, int]
Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """methods: that may be called; rate: calls per second, infinite for no bound; burst: calls at
    once."""

    methods: frozenset[str]
    rate: float = math.inf
    burst: float = math.inf

    def allows(self, method: str) -> bool:
        """Whether the method may be called at all."""
        return EVERY in self.methods or method in self.methods


@dataclass(frozen=True, kw_only=True)
class Rules:
    """identities: by name; default: everyone else's, None where they are refused; path, stamp:
    where they were read, and what tells whether they would be read the same."""

    identities: Mapping[str, Rule]
    default: Rule | None
    path: Path | None = None
    stamp: Stamp = _GONE

    def rule_of(self, owner: str) -> Rule | None:
        """What goes for that identity."""
        return self.identities.get(owner, self.default)

    def names(self, method: str) -> bool:
        """Whether the file names that method anywhere."""
        rules = [*self.identities.values(), *([self.default] if self.default else [])]
        return any(method in rule.methods for rule in rules)


def read(path: Path) -> Rules:
    """The rules of a file. Raises InvalidInputError naming file, key and value."""
    try:
        stamp = _stamp(path)  # first, so that a change meanwhile is seen the next time
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"--access {path} cannot be read as TOML ({error}); see docs/operations.md"
        ) from error
    _check_keys(str(path), document, ("identity", "default"))
    tables = document.get("identity", {})
    if not isinstance(tables, dict):
        raise InvalidInputError(
            f'{path}: identity is {tables!r}; write tables like [identity."station-7"]'
        )
    return Rules(
        identities={
            name: _rule(f'{path}: [identity."{name}"]', table) for name, table in tables.items()
        },
        default=_rule(f"{path}: [default]", document["default"]) if "default" in document else None,
        path=path,
        stamp=stamp,
    )


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _rule(where: str, table: object) -> Rule:
    if not isinstance(table, dict):
        raise InvalidInputError(f"{where} is {table!r}; write a table with methods, rate and burst")
    _check_keys(where, table, _KEYS)
    rate = _number(where, "rate", table)
    burst = _number(where, "burst", table)
    if burst is not None and (rate is None or burst < 1):
        raise InvalidInputError(f"{where}: burst is {burst}; give 1 or more, and a rate with it")
    methods = _methods(where, table.get("methods"))
    if rate is None:
        return Rule(methods=methods)
    return Rule(methods=methods, rate=rate, burst=burst or max(1.0, math.ceil(rate)))


def _methods(where: str, value: object) -> frozenset[str]:
    if value == EVERY:
        return frozenset([EVERY])
    if not isinstance(value, list):
        raise InvalidInputError(f'{where}: methods is {value!r}; give a list of names, or "*"')
    unknown = [name for name in value if name not in METHODS]
    if unknown:
        raise InvalidInputError(
            f"{where}: methods has {unknown[0]!r}; choose from {', '.join(METHODS)}"
        )
    return frozenset(value)


def _number(where: str, key: str, table: Mapping[str, object]) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidInputError(f"{where}: {key} is {value!r}; give a number above 0")
    return float(value)


def _check_keys(where: str, table: Mapping[str, object], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise InvalidInputError(f"{where}: key {key!r} is unknown; use {', '.join(known)}")


@dataclass(kw_only=True)
class _Bucket:
    tokens: float
    filled_s: float


@dataclass(kw_only=True)
class Access:
    """Holds calls to the rules. clock: seconds, like time.monotonic; max_buckets: identities whose
    rate is remembered, the one that called longest ago is forgotten first."""

    rules: Rules
    clock: Callable[[], float] = time.monotonic
    max_buckets: int = _MAX_BUCKETS
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)
    _wrong: Stamp | None = None

    def require(self, owner: str, method: str) -> None:
        """Count one call in.

        Raises UnauthenticatedError, PermissionDeniedError or RateLimitedError.
        """
        self._follow()
        if method in STANDARD_METHODS and not self.rules.names(method):
            return
        rule = self.rules.rule_of(owner)
        if rule is None and owner == ANONYMOUS:
            raise UnauthenticatedError(
                "the call has no client certificate, and this server answers only to identities "
                "that its access file names; come with one"
            )
        if rule is None or not rule.allows(method):
            raise PermissionDeniedError(
                f"identity {owner!r} may not call {method}; ask for it in the server's access file"
            )
        self._take(owner, rule)

    def _follow(self) -> None:
        """Read a file that has changed; one that is wrong is logged, and the old rules stay."""
        path = self.rules.path
        if path is None:
            return
        try:
            stamp = _stamp(path)
        except OSError:
            stamp = _GONE
        if stamp in (self.rules.stamp, self._wrong):
            return
        self._wrong = stamp
        try:
            self.rules = read(path)
        except InvalidInputError as error:
            _log.error("the rules stay as they were: %s", error)
        else:
            _log.info("the rules of %s have changed", path)

    def _take(self, owner: str, rule: Rule) -> None:
        if rule.rate == math.inf:
            return
        now_s = self.clock()
        bucket = self._buckets.pop(owner, None) or _Bucket(tokens=rule.burst, filled_s=now_s)
        self._buckets[owner] = bucket
        if len(self._buckets) > self.max_buckets:
            self._buckets.popitem(last=False)
        gained = (now_s - bucket.filled_s) * rule.rate
        bucket.tokens, bucket.filled_s = min(rule.burst, bucket.tokens + gained), now_s
        if bucket.tokens < 1:
            wait_s = (1 - bucket.tokens) / rule.rate
            raise RateLimitedError(
                f"identity {owner!r} calls more than {rule.rate:g} times per second, "
                f"{rule.burst:g} at once; retry after {wait_s:.3f} s",
                retry_after_s=wait_s,
            )
        bucket.tokens -= 1
