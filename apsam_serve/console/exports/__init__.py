"""Saved work in the forms that others read: every export is a new folder of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from apsam_serve.console.exports import coco, dicos, labelme, png, review, yolo
from apsam_serve.console.exports.contents import Annotated, read_contents
from apsam_serve.console.project import Project
from apsam_serve.contract.folders import new_folder

Export = Callable[[Project, Path], list[Path]]
"""Writes a folder that must not exist yet, whole or not at all, and names its files. Raises
OutputExistsError, ProjectError, and InvalidInputError where there is nothing of what it exports."""


def _export(write: Callable[[Sequence[Annotated], Path], None]) -> Export:
    def export(project: Project, out: Path) -> list[Path]:
        contents = read_contents(project)
        with new_folder(out) as folder:
            write(contents, folder)
        return sorted(file for file in out.rglob("*") if file.is_file())

    return export


EXPORTS: Final[Mapping[str, Export]] = MappingProxyType(
    {
        "coco": _export(coco.write),
        "png": _export(png.write),
        "labelme": _export(labelme.write),
        "yolo": _export(yolo.write),
        "dicos": _export(dicos.write),
        "review": _export(review.write),
    }
)
