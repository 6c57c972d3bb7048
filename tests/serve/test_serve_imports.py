"""What an import of the package costs, measured in fresh processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

ALL = """
import importlib, pkgutil, sys, apsam_serve
for module in pkgutil.walk_packages(apsam_serve.__path__, "apsam_serve."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        assert (error.name or "").split(".")[0] in {"tensorrt", "tensorrt_rtx", "cuda"}, error
bad = {"torch", "torchvision", "onnx", "ray", "apsam_train", "apsam_export"} & set(sys.modules)
assert not bad, bad
"""
BASE = """
import sys
for name in ("google.rpc", "grpc_status", "grpc_health", "grpc_reflection", "prometheus_client",
             "onnxruntime"):
    sys.modules[name] = None
import apsam_serve.client, apsam_serve.client_cli
"""


@pytest.mark.parametrize("script", [ALL, BASE], ids=["no training library", "client on the base"])
def test_imports_stay_light(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
