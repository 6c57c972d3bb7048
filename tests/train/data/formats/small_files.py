"""The files that layouts are made of, small: writers, and what a test asks of a data set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from apsam_train.data import formats
from apsam_train.data.dataset import usable_samples
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import Sample

HEIGHT, WIDTH = 30, 40


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def write_image(file: Path, *, grey: bool = False) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (HEIGHT, WIDTH) if grey else (HEIGHT, WIDTH, 3)
    assert cv2.imwrite(str(file), np.full(shape, 200, np.uint8))
    return file


def fitting(root: Path) -> list[str]:
    """Every format that would read the folder and is not a mere way to write files."""
    layouts = {name: formats.load(name) for name in formats.names()}
    return [n for n, layout in layouts.items() if not layout.GENERIC and layout.looks_like(root)]


def read(root: Path, format: str = "", split: str = "") -> tuple[dict[str, Sample], dict[str, int]]:
    """(usable samples by name, problems by kind)."""
    log = ProblemLog()
    dataset = formats.open_dataset(root, format=format, split=split, log=log)
    samples = {sample.name: sample for _, sample in usable_samples(dataset, log)}
    return samples, log.counts()


def splits(samples: dict[str, Sample]) -> dict[str, str]:
    return {name: sample.split for name, sample in samples.items()}


def boxes(sample: Sample) -> list[tuple[str, float, float, float, float]]:
    return [(b.category, b.box.left, b.box.top, b.box.right, b.box.bottom) for b in sample.boxes]
