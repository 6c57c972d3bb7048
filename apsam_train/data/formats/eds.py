"""EDS: the same ten things seen by three scanners, domain1 to domain3, each with images/, labels/
(Pascal VOC) and lists. Splits: domain1/val for an image that domain1/val.txt lists (train.txt and
test.txt likewise), domain1 for one that no list has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from apsam_train.data.entry import Entry
from apsam_train.data.files import images_by_stem, subfolder
from apsam_train.data.name_lists import listed_stems
from apsam_train.data.problems import ProblemKind, ProblemLog
from apsam_train.data.sidecars import files_by_stem
from apsam_train.data.voc_xml import voc_shapes
from apsam_train.errors import DatasetError

TITLE = "EDS"
GENERIC = False
CLASSES = (
    "drinkbottle",
    "pressure",
    "lighter",
    "knife",
    "smallelectronicequipmen",  # as the data set spells it
    "powerbank",
    "umbrella",
    "glassbottle",
    "scissor",
    "laptop",
)
# Doubtful, so outside the thirty: knife (fruit knife or cleaver), smallelectronicequipmen (what?).
# Doubtful, but named: a drinkbottle's material is unknown, and whether it is full.
CATEGORIES_IN_XSEG: Mapping[str, str] = {
    "drinkbottle": "Suspicious Liquid",
    "glassbottle": "GlassbottleLiquid",
    "pressure": "Pressure",
    "lighter": "Lighter",
    "powerbank": "Powerbank",
    "scissor": "Scissors",
    "laptop": "Laptop",
}

_DOMAINS = ("domain1", "domain2", "domain3")
_LISTS = ("val", "test", "train")
_ANNOTATIONS = ("labels", "annotations", "Annotations")


def looks_like(root: Path) -> bool:
    """A folder domain1, 2 or 3 with images in it."""
    return any((domain / "images").is_dir() for domain in _domains(root))


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image that has an annotation."""
    domains = _domains(root)
    if not domains:
        raise DatasetError(f"{root} has none of the folders {', '.join(_DOMAINS)}")
    return [entry for domain in domains for entry in _read_domain(domain, log)]


def _domains(root: Path) -> list[Path]:
    found = [subfolder(root, name) for name in _DOMAINS] if root.is_dir() else []
    return [domain for domain in found if domain is not None]


def _read_domain(domain: Path, log: ProblemLog) -> list[Entry]:
    images = images_by_stem(domain / "images")
    folder = next((domain / n for n in _ANNOTATIONS if (domain / n).is_dir()), domain / "labels")
    annotations = files_by_stem(folder, ".xml")
    lists = {name: listed_stems(domain / f"{name}.txt") for name in _LISTS}
    splits = {s: f"{domain.name}/{name}" for name in reversed(_LISTS) for s in lists[name]}
    for stem in sorted({*annotations, *splits} - set(images)):
        detail = "annotated or listed, not in images"
        log.add(ProblemKind.MISSING_IMAGE, f"{domain.name}/{stem}", detail)
    entries = []
    for stem, image in images.items():
        name = f"{domain.name}/images/{image.name}"
        if stem not in annotations:
            detail = f"no {folder.name}/{stem}.xml: left out"
            log.add(ProblemKind.MISSING_ANNOTATION, name, detail)
            continue
        entries.append(
            Entry(
                name=name,
                image=image,
                read_shapes=partial(voc_shapes, annotations[stem], CLASSES, ()),
                split=splits.get(stem, domain.name),
            )
        )
    return entries
