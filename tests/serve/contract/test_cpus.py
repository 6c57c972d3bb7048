"""CPUs on systems that say which ones are granted, and on those that do not."""

from __future__ import annotations

import os

import pytest

from apsam_serve.contract.cpus import num_cpus


def test_the_granted_cpus_count_where_the_system_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 2, 5}, raising=False)
    assert num_cpus() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert num_cpus() == 7
