"""Every setting of the server, in one value."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from apsam_serve.contract.cpus import num_cpus
from apsam_serve.contract.images import MAX_PIXELS
from apsam_serve.contract.prompts import MAX_PROMPTS
from apsam_serve.engine.batcher import Limits
from apsam_serve.errors import InvalidInputError

AUTO = 0
"""A number that `resolve` replaces by what suits this machine."""
MAX_MESSAGE_BYTES = 16 * 2**20
"""Largest gRPC message, both ways, in the server and in our client."""
LogFormat = Literal["auto", "text", "json"]
_MAX_AUTO_BUDGET = 2 * 2**30
_MAX_TTL_S = 10 * 365.25 * 86400
"""Replies hold dates, and infinity is none."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """bundle: folder, or a link to one; listen: HOST:PORT, port 0 picks a free one; advertise:
    HOST:PORT that handles name as their owner's, "" for none.

    build: of the bundle, "" for the back end's first; allow_unverified: serve a build that has not
    passed its gate, and say so; require_signature: public key that must have signed the bundle;
    reload_s: how often to look whether `bundle` leads to another one, 0 for on SIGHUP only;
    cache: folder where a back end keeps what it compiled, None for none.

    threads: per graph call; host_threads: for decoding images, and as many for packing masks;
    batch_images, batch_prompts: encoded and decoded at once; budget_bytes: held images;
    masks_per_image: low-resolution masks kept for refining; ttl_s: life of an unused handle,
    max_ttl_s: the longest that can be asked for; max_pixels: of one image; replay_bytes: replies
    kept for calls that come again with their request id.

    tls_key, tls_certificate: PEM files, None for plaintext; tls_client_ca: callers must show a
    certificate of it; access: TOML file of identities, their methods and rates; allow_plaintext:
    serve without TLS beyond this machine.

    audit_log: file of one record per answer; log_format: "text", "json" or "auto", text for a
    terminal; traces: OpenTelemetry, set up by its OTEL_* variables; metrics_port: Prometheus over
    HTTP, None for none; kserve: offer the KServe v2 protocol too; console: port of a page to
    click in, of a process of its own on this machine, None for none; console_project: the folder
    of its work; grace_s: for calls in flight after the first signal."""

    bundle: Path
    listen: str = "127.0.0.1:50051"
    advertise: str = ""
    backend: str = "onnxruntime"
    device: str = "cpu"
    build: str = ""
    allow_unverified: bool = False
    require_signature: Path | None = None
    reload_s: float = 0.0
    cache: Path | None = None
    threads: int = AUTO
    host_threads: int = AUTO
    budget_bytes: int = AUTO
    masks_per_image: int = 4
    ttl_s: float = 600.0
    max_ttl_s: float = 3600.0
    max_pixels: int = MAX_PIXELS
    max_message_bytes: int = MAX_MESSAGE_BYTES
    limits: Limits = field(default_factory=Limits)
    batch_images: int = AUTO
    batch_prompts: int = AUTO
    replay_bytes: int = 32 * 2**20
    tls_key: Path | None = None
    tls_certificate: Path | None = None
    tls_client_ca: Path | None = None
    access: Path | None = None
    allow_plaintext: bool = False
    audit_log: Path | None = None
    log_format: LogFormat = "auto"
    traces: bool = False
    metrics_port: int | None = None
    kserve: bool = False
    console: int | None = None
    console_project: Path = Path("apsam-project")
    grace_s: float = 10.0


def check(config: ServeConfig) -> None:
    """Raise InvalidInputError for settings that cannot work, named as on the command line."""
    host, _, port = config.listen.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInputError(
            f"--listen {config.listen!r} is not HOST:PORT; give for example 127.0.0.1:50051"
        )
    for name in ("ttl_s", "max_ttl_s", "max_pixels", "max_message_bytes"):
        value = getattr(config, name)
        if not value > 0:
            raise InvalidInputError(f"--{name.replace('_', '-')} {value} must be above 0")
    for name in (
        *("threads", "host_threads", "budget_bytes", "grace_s"),
        *("batch_images", "batch_prompts", "masks_per_image", "replay_bytes", "reload_s"),
    ):
        value = getattr(config, name)
        if not value >= 0:
            raise InvalidInputError(f"--{name.replace('_', '-')} {value} must not be below 0")
    if config.max_ttl_s > _MAX_TTL_S:
        raise InvalidInputError(
            f"--max-ttl-s {config.max_ttl_s} is above {_MAX_TTL_S:.0f}, ten years; give less"
        )
    for name in ("metrics_port", "console"):
        port = getattr(config, name)
        if port is not None and not 0 <= port < 2**16:
            raise InvalidInputError(
                f"--{name.replace('_', '-')} {port} is no port; give 0 to {2**16 - 1}"
            )
    if config.console is not None and config.tls_key is not None:
        raise InvalidInputError(
            "--console starts a console without TLS, and --tls-key asks for it; start "
            "apsam-console with --tls-ca beside this service instead"
        )
    if config.ttl_s > config.max_ttl_s:
        raise InvalidInputError(
            f"--ttl-s {config.ttl_s} is above --max-ttl-s {config.max_ttl_s}; raise the latter"
        )


def resolve(config: ServeConfig) -> ServeConfig:
    """The same settings with every AUTO replaced: all cores, and a quarter of the memory for held
    images, at most 2 GiB."""
    cores = num_cpus()
    # A CPU does two in the time of two, and everybody would wait for both.
    on_cpu = config.device == "cpu"
    batch_images = config.batch_images or (1 if on_cpu else 8)
    batch_prompts = config.batch_prompts or (8 if on_cpu else MAX_PROMPTS)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return replace(
        config,
        threads=config.threads or cores,
        host_threads=config.host_threads or min(4, cores),
        budget_bytes=config.budget_bytes or min(_MAX_AUTO_BUDGET, memory // 4),
        limits=replace(
            config.limits, max_batch_images=batch_images, max_batch_prompts=batch_prompts
        ),
        batch_images=batch_images,
        batch_prompts=batch_prompts,
    )
