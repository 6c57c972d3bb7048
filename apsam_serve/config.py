"""Every setting of the server, in one value."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from apsam_serve.contract.cpus import num_cpus
from apsam_serve.contract.images import MAX_PIXELS
from apsam_serve.engine.batcher import Limits
from apsam_serve.errors import InvalidInputError

AUTO = 0
"""A number that `resolve` replaces by what suits this machine."""
MAX_MESSAGE_BYTES = 16 * 2**20
"""Largest gRPC message, both ways, in the server and in our client."""
_MAX_AUTO_BUDGET = 2 * 2**30


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """bundle: folder; listen: HOST:PORT, port 0 picks a free one; build: of the bundle, "" for the
    back end's first; allow_unverified: serve a build that has not passed its gate, and say so;
    require_signature: public key that must have signed the bundle; threads: per graph call;
    host_threads: for decoding images, and as many for packing masks; budget_bytes: held images;
    ttl_s: life of an unused handle; max_pixels: of one image; grace_s: for calls in flight after
    the first signal; metrics_port: Prometheus over HTTP, None for none."""

    bundle: Path
    listen: str = "127.0.0.1:50051"
    backend: str = "onnxruntime"
    device: str = "cpu"
    build: str = ""
    allow_unverified: bool = False
    require_signature: Path | None = None
    threads: int = AUTO
    host_threads: int = AUTO
    budget_bytes: int = AUTO
    ttl_s: float = 600.0
    max_pixels: int = MAX_PIXELS
    max_message_bytes: int = MAX_MESSAGE_BYTES
    limits: Limits = field(default_factory=Limits)
    grace_s: float = 10.0
    metrics_port: int | None = None


def check(config: ServeConfig) -> None:
    """Raise InvalidInputError for settings that cannot work, named as on the command line."""
    host, _, port = config.listen.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInputError(
            f"--listen {config.listen!r} is not HOST:PORT; give for example 127.0.0.1:50051"
        )
    for name in ("ttl_s", "max_pixels", "max_message_bytes"):
        value = getattr(config, name)
        if not value > 0:
            raise InvalidInputError(f"--{name.replace('_', '-')} {value} must be above 0")
    for name in ("threads", "host_threads", "budget_bytes", "grace_s"):
        value = getattr(config, name)
        if not value >= 0:
            raise InvalidInputError(f"--{name.replace('_', '-')} {value} must not be below 0")


def resolve(config: ServeConfig) -> ServeConfig:
    """The same settings with every AUTO replaced: all cores, and a quarter of the memory for held
    images, at most 2 GiB."""
    cores = num_cpus()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return replace(
        config,
        threads=config.threads or cores,
        host_threads=config.host_threads or min(4, cores),
        budget_bytes=config.budget_bytes or min(_MAX_AUTO_BUDGET, memory // 4),
    )
