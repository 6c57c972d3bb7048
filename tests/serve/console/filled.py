"""A project with objects of every shape that an export could get wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.console.importing import add_file
from apsam_serve.console.project import Project
from apsam_serve.console.rows import ImageRow, NewObject
from apsam_serve.contract.masks import Mask, encode_rle

HEIGHT, WIDTH = 48, 64


def picture(shade: int = 200, suffix: str = ".png") -> bytes:
    """An image file of one shade."""
    pixels: NDArray[np.uint8] = np.full((HEIGHT, WIDTH, 3), shade, np.uint8)
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return bytes(data)


def block(left: int, top: int, right: int, bottom: int) -> Mask:
    """A filled rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


SHAPES: Mapping[str, Mask] = {
    "block": block(4, 4, 24, 20),
    "whole image": block(0, 0, WIDTH, HEIGHT),
    "one pixel": block(63, 47, 64, 48),
    "a line": block(10, 0, 11, 40),
    "with holes": block(4, 4, 40, 40) & ~block(8, 8, 12, 20) & ~block(30, 30, 31, 31),
    "an island in a hole": block(4, 4, 40, 40) & ~block(8, 8, 36, 36) | block(20, 20, 24, 24),
    "two pieces": block(4, 4, 10, 10) | block(30, 20, 50, 44),
    "touching at a corner": block(4, 4, 10, 10) | block(10, 10, 20, 20),
    "specks": np.random.default_rng(7).random((HEIGHT, WIDTH)) < 0.5,
}


def new_object(mask: Mask = SHAPES["block"], **fields: object) -> NewObject:
    """An accepted gun, unless said otherwise."""
    values = {"category": "Gun", "score": 0.9, "reviewer": "Ada", **fields}
    return NewObject(mask=encode_rle(mask), **values)  # type: ignore[arg-type]


def add_picture(project: Project, name: str, shade: int = 200) -> ImageRow:
    """An image of its own shade: equal shades are one image."""
    return add_file(project, name, picture(shade, Path(name).suffix))


def fill(folder: Path) -> Project:
    """A finished image with all `SHAPES`, one with a rejected object alone, an open one with an
    object without category, and one that nobody has looked at."""
    project = Project.open(folder)
    images = [
        add_picture(project, name, shade)
        for shade, name in enumerate(("lane 1/bag.png", "lane 2/bag.jpg", "bag.tif", "unseen.png"))
    ]
    for mask in SHAPES.values():
        project.save_object(images[0].id, new_object(mask))
    project.save_object(images[1].id, new_object(verdict="rejected"))
    project.save_object(images[2].id, new_object(category=None, score=None, reviewer=""))
    project.set_status(images[0].id, "done", reviewer="Ada", round=2)
    project.set_status(images[1].id, "done", reviewer="Bo", round=2)
    return project
