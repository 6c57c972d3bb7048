"""Data sets with an annotation file for each image: what belongs to what, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from apsam_serve.contract.images import probe
from apsam_train.data.problems import Problem, ProblemKind, ProblemLog, UnusableSampleError


def files_by_stem(folder: Path, suffix: str) -> dict[str, Path]:
    """stem -> file with that suffix (lower case) of one folder; {} when there is no such folder."""
    if not folder.is_dir():
        return {}
    found = sorted(f for f in folder.iterdir() if f.suffix.lower() == suffix)
    return {file.stem: file for file in found if not file.name.startswith(".")}


def pairs(
    images: Mapping[str, Path], sidecars: Mapping[str, Path], log: ProblemLog
) -> list[tuple[Path, Path]]:
    """(image, annotation file) of the same stem, sorted; what is alone is counted and left out."""
    for stem in sorted(images.keys() - sidecars.keys()):
        detail = "no annotation file of this name: left out"
        log.add(ProblemKind.MISSING_ANNOTATION, str(images[stem]), detail)
    for stem in sorted(sidecars.keys() - images.keys()):
        log.add(ProblemKind.MISSING_IMAGE, str(sidecars[stem]), "no image of this name: left out")
    return [(images[stem], sidecars[stem]) for stem in sorted(images.keys() & sidecars.keys())]


def image_size(image: Path) -> tuple[int, int]:
    """(height, width) from the header of an image file."""
    header = probe(image.read_bytes())
    return header.height, header.width


def check_size(file: Path, size: tuple[int, int], image: Path) -> None:
    """Raises UnusableSampleError when `file` was made for an image of another (height, width)."""
    height, width = image_size(image)
    if size != (height, width):
        detail = (
            f"{file.name} is for an image of {size[1]} x {size[0]} pixels, {image.name} has "
            f"{width} x {height}; its outlines would lie elsewhere"
        )
        raise UnusableSampleError(
            Problem(kind=ProblemKind.SIZE_MISMATCH, where=image.name, detail=detail)
        )
