"""Settings: what is resolved, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from apsam_serve.config import AUTO, ServeConfig, check, resolve
from apsam_serve.contract.cpus import num_cpus
from apsam_serve.errors import InvalidInputError


def test_auto_becomes_a_number_for_this_machine_in_a_new_value() -> None:
    given = ServeConfig(bundle=Path("b"))
    resolved = resolve(given)
    assert given.threads == given.budget_bytes == AUTO
    assert resolved.threads == num_cpus()
    assert 1 <= resolved.host_threads <= 4
    assert 0 < resolved.budget_bytes <= 2 * 2**30


def test_what_was_given_is_kept() -> None:
    given = ServeConfig(
        bundle=Path("b"),
        threads=3,
        host_threads=2,
        budget_bytes=100,
        batch_images=3,
        batch_prompts=9,
    )
    resolved = resolve(given)
    assert resolved == replace(given, limits=resolved.limits)
    assert resolved.limits.max_batch_images == 3
    assert resolved.limits.max_batch_prompts == 9


@pytest.mark.parametrize(("device", "images", "prompts"), [("cpu", 1, 8), ("cuda", 8, 64)])
def test_a_cpu_takes_little_at_a_time_and_a_gpu_much(
    device: str, images: int, prompts: int
) -> None:
    resolved = resolve(ServeConfig(bundle=Path("b"), device=device))
    assert resolved.limits.max_batch_images == resolved.batch_images == images
    assert resolved.limits.max_batch_prompts == resolved.batch_prompts == prompts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"listen": "50051"}, "--listen '50051' is not HOST:PORT"),
        ({"listen": "host:http"}, "is not HOST:PORT"),
        ({"ttl_s": float("nan")}, "--ttl-s nan must be above 0"),
        ({"max_pixels": 0}, "--max-pixels 0 must be above 0"),
        ({"threads": -1}, "--threads -1 must not be below 0"),
        ({"grace_s": -1.0}, "--grace-s -1.0 must not be below 0"),
        ({"max_ttl_s": float("inf")}, "--max-ttl-s inf is above 315576000, ten years"),
        ({"metrics_port": 70000}, "--metrics-port 70000 is no port; give 0 to 65535"),
        ({"console": -1}, "--console -1 is no port; give 0 to 65535"),
        ({"console": 0, "tls_key": Path("k")}, "start apsam-console with --tls-ca beside"),
    ],
)
def test_settings_that_cannot_work_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check(ServeConfig(bundle=Path("b"), **changes))  # type: ignore[arg-type]
