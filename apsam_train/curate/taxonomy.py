"""The names of every source -> one list of categories.

ids 1 to 30 are Table 7; 31 to 40 its superclasses, where no more is known (35 is never used: of
"Scissors" the category says more); 99 is what lies outside. A `--category-map` file changes or adds
names, for one source or, under "*", for all that do not say otherwise:

    [pidray]
    Knife = "Fruitknife"          # a superclass or category of Table 7
    Bat = "Baton"

    ["*"]
    "Pepper Spray" = "Pressure"
    Umbrella = ""                 # outside Table 7, whatever the data set's reader says
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from apsam_train.categories import CATEGORIES, LABELS, SUPERCLASS, UNKNOWN, label_of
from apsam_train.errors import ConfigError

UNMAPPED_ID: Final = 99
UNMAPPED: Final = "Unmapped"
_EVERY = "*"

CategoryMap = dict[str, dict[str, str]]
"""Source, or "*" -> its names -> names of Table 7, "" for none."""


def coco_categories() -> list[dict[str, Any]]:
    """The `categories` of every file that is written."""
    known = {label_of(name): name for name in LABELS[1:]}
    return [
        {"id": label, "name": name, "supercategory": SUPERCLASS.get(name, name)}
        for label, name in sorted(known.items())
    ] + [{"id": UNMAPPED_ID, "name": UNMAPPED, "supercategory": UNMAPPED}]


def read_category_map(file: Path | None, sources: Sequence[str]) -> CategoryMap:
    """A `--category-map` file. Raises ConfigError for what it should not hold."""
    if file is None:
        return {}
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--category-map {file} is no readable TOML file ({error})") from error
    for source, names in document.items():
        if source not in (*sources, _EVERY) or not isinstance(names, dict):
            raise ConfigError(
                f"--category-map {file} has {source!r}: expected tables named {', '.join(sources)} "
                f'or "{_EVERY}"'
            )
        wrong = [n for n in names.values() if n != "" and n not in LABELS[1:]]
        if wrong:
            raise ConfigError(
                f"--category-map {file} maps to {wrong[0]!r}: expected a category of Table 7 "
                f'({", ".join(CATEGORIES)}), a superclass ({", ".join(LABELS[31:])}), or ""'
            )
    return document


def category_of(name: str, *, source: str, given: CategoryMap, in_xseg: Mapping[str, str]) -> int:
    """The id of a source's name. given: what `read_category_map` found; in_xseg: what the reader of
    the source's format knows."""
    for names in (given.get(source, {}), given.get(_EVERY, {}), in_xseg):
        if name in names:
            name = names[name]
            break
    label = label_of(name)
    return UNMAPPED_ID if label == UNKNOWN else label
