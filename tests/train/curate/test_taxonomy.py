from __future__ import annotations

from pathlib import Path

import pytest

from apsam_train.categories import CATEGORIES, SUPERCLASS
from apsam_train.curate.taxonomy import category_of, coco_categories, read_category_map
from apsam_train.errors import ConfigError

GIVEN = {"pidray": {"Knife": "Cleaver", "Gun": ""}, "*": {"Knife": "Fruitknife", "Bat": "Baton"}}
IN_XSEG = {"Knife": "Fruitknife", "Pressure_Vessel": "Pressure"}


@pytest.mark.parametrize(
    ("source", "name", "number"),
    [
        ("pixray", "Gun", 22),
        ("pixray", "Batteries", 31),
        ("pixray", "Scissors", 12),
        ("pixray", "Knife", 33),
        ("pixray", "Pressure_Vessel", 24),
        ("pixray", "Bat", 14),
        ("pixray", "Umbrella", 99),
        ("pidray", "Knife", 34),
        ("pidray", "Gun", 99),
        ("pidray", "Bat", 14),
    ],
)
def test_a_source_is_asked_first_then_all_then_its_format_then_table_7(
    source: str, name: str, number: int
) -> None:
    assert category_of(name, source=source, given=GIVEN, in_xseg=IN_XSEG) == number


def test_categories_are_table_7_its_superclasses_and_the_rest() -> None:
    found = {category["id"]: category for category in coco_categories()}
    assert [found[n]["name"] for n in range(1, 31)] == list(CATEGORIES)
    assert [found[n]["supercategory"] for n in range(1, 31)] == [SUPERCLASS[c] for c in CATEGORIES]
    assert found[31] == {"id": 31, "name": "Batteries", "supercategory": "Batteries"}
    assert sorted(found) == [*range(1, 35), *range(36, 41), 99]
    assert len({category["name"] for category in found.values()}) == len(found)


def test_a_category_map_is_read_for_sources_and_for_all(tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_text(
        '[pidray]\nKnife = "Fruitknife"\n["*"]\n"Pepper Spray" = "Pressure"\nBag = ""\n'
    )
    assert read_category_map(file, ["pidray"]) == {
        "pidray": {"Knife": "Fruitknife"},
        "*": {"Pepper Spray": "Pressure", "Bag": ""},
    }
    assert read_category_map(None, ["pidray"]) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[opixray]\n", r"has 'opixray': expected tables named pidray or"),
        ('[pidray]\nKnife = "Sword"\n', "maps to 'Sword': expected a category of Table 7"),
        ("[pidray", "is no readable TOML file"),
    ],
)
def test_what_a_category_map_should_not_hold_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "map.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_category_map(file, ["pidray"])
