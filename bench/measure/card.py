"""The environment card: what a figure was measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from apsam_serve.contract.cpus import num_cpus

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = (
    "numpy", "onnxruntime", "onnxruntime-gpu", "torch", "torchvision", "segment-anything",
    "grpcio", "protobuf", "opencv-python-headless", "scikit-learn", "scipy", "openvino",
    "tensorrt", "tensorrt-rtx", "cuda-bindings", "faiss-cpu",
)  # fmt: skip
_FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni",
          "amx_tile", "amx_int8", "amx_bf16", "asimd", "sve")  # fmt: skip
"""The CPU flags that decide how fast arithmetic is."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SMI_FIELDS = "name,driver_version,memory.total,power.limit,clocks.max.sm"


def environment() -> dict[str, Any]:
    """Everything that figures depend on, for JSON; what cannot be found out is absent or empty."""
    info = _cpu_info()
    flags = set(info.get("flags", info.get("Features", "")).split())
    cpu = info.get("model name") or platform.processor() or platform.machine()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu,
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "cores": num_cpus(),
        "cores_of_machine": os.cpu_count() or 1,
        "threads": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _gpus(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "switch_interval_s": sys.getswitchinterval(),
        "versions": _versions(),
        **_revision(),
    }


def describe(card: dict[str, Any]) -> str:
    """A card as one line."""
    gpus = [f"{gpu['name']} (driver {gpu['driver_version']})" for gpu in card["gpus"]]
    revision = card.get("revision", "")[:10] + ("+changes" if card.get("dirty") else "")
    parts = [
        f"{card['cpu']}, {card['cores']} cores, {card['memory_gib']} GiB",
        ", ".join(gpus) or "no GPU",
        f"Python {card['python']}",
        *(f"{name} {version}" for name, version in card["versions"].items()),
        f"revision {revision}" if revision else "",
        card["date"],
    ]
    return "; ".join(part for part in parts if part)


def _cpu_info() -> dict[str, str]:
    """Of the first processor."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _gpus() -> list[dict[str, str]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    text = _said(program, f"--query-gpu={_SMI_FIELDS}", "--format=csv,noheader")
    names = _SMI_FIELDS.split(",")
    return [
        dict(zip(names, (part.strip() for part in line.split(",")), strict=False))
        for line in text.splitlines()
        if line.count(",") == len(names) - 1
    ]


def _revision() -> dict[str, Any]:
    git = shutil.which("git")
    revision = _said(git, "-C", str(ROOT), "rev-parse", "HEAD") if git else ""
    if not git or not revision:
        return {}
    changes = _said(git, "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "dirty": bool(changes)}


def _said(program: str, *words: str) -> str:
    """What a command printed; nothing where it failed."""
    try:
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
