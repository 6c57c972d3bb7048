"""The GPU's benchmark, as far as a machine without one can tell."""

from __future__ import annotations

import pytest
import torch

from bench import on_gpu
from bench.measure.document import Figure


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert on_gpu.main([]) == 1
    assert "torch finds no NVIDIA GPU; run it where there is one" in capsys.readouterr().err


def test_the_fastest_build_stands_for_all() -> None:
    values = {"click_gpu_ms": (1.5, 0.9), "encode_vit_l_vs_eager_fp16_b1": (2.0, 3.0)}
    figures = [
        Figure(key=key, value=value, detail=build)
        for key, pair in values.items()
        for build, value in zip(("fp16", "tensorrt"), pair, strict=True)
    ]
    assert [(one.value, one.detail) for one in on_gpu.best(figures)] == [
        (0.9, "tensorrt"),
        (3.0, "tensorrt"),
    ]
    assert on_gpu.best([Figure(key="ceiling_tflop_per_s", value=9.0)])[0].value == 9.0
