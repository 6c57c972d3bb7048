"""Panels and sheets: what is drawn, and where."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from apsam_serve.contract.prompts import Box, Point
from apsam_train.errors import ConfigError
from apsam_train.pictures import (
    ALARM,
    COLOURS,
    Cell,
    colours_of,
    contact_sheet,
    panel,
    sheet,
    write_picture,
)

WHITE = np.full((100, 200, 3), 255, np.uint8)
MASK = np.zeros((100, 200), bool)
MASK[40:80, 60:140] = True


def changed(drawn: np.ndarray, plain: np.ndarray) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of what differs."""
    rows, columns = np.nonzero((drawn != plain).any(axis=2))
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_a_panel_has_the_image_and_a_caption() -> None:
    drawn = panel(WHITE, size=(120, 200))
    assert drawn.dtype == np.uint8
    assert drawn.shape[0] > 120
    assert drawn.shape[1:] == (200, 3)
    assert (drawn[11:109, 1:199] == 255).all()


def test_a_title_changes_nothing_but_the_caption() -> None:
    drawn = panel(WHITE, title="bags/000001.png", size=(100, 200))
    top, _, bottom, _ = changed(drawn, panel(WHITE, size=(100, 200)))
    assert top >= 100
    assert bottom <= drawn.shape[0]


def test_a_long_title_keeps_its_beginning_and_end_inside_the_panel() -> None:
    drawn = panel(WHITE, title="a" * 500, size=(100, 200))
    assert drawn.shape[1] == 200
    assert (drawn[100:, :40] < 128).any()
    assert (drawn[100:, 150:] < 128).any()


@pytest.mark.parametrize("factor", [1, 2])
def test_a_mask_is_tinted_and_outlined_in_the_image_it_was_scaled_to(factor: int) -> None:
    size = 100 * factor, 200 * factor
    drawn = panel(WHITE, masks=[("", MASK)], size=size)
    found = changed(drawn, panel(WHITE, size=size))
    assert np.abs(np.array(found) - np.array((40, 60, 80, 140)) * factor).max() <= 4
    middle = drawn[60 * factor, 100 * factor].astype(int)
    tint = 255 * 0.65 + np.array(COLOURS[0]) * 0.35
    assert np.abs(middle - tint).max() <= 1


def test_an_object_thinner_than_a_pixel_of_the_panel_is_still_seen() -> None:
    mask = np.zeros((1000, 2000), bool)
    mask[500, 300:1700] = True
    image = np.full((1000, 2000, 3), 255, np.uint8)
    drawn = panel(image, masks=[("", mask)], size=(100, 200))
    assert (drawn[45:55, 100] < 250).any()


def test_a_mask_without_pixels_draws_nothing() -> None:
    drawn = panel(WHITE, masks=[("Gun", np.zeros_like(MASK))], size=(100, 200))
    assert np.array_equal(drawn, panel(WHITE, size=(100, 200)))


def test_a_box_is_a_frame_and_leaves_its_inside_alone() -> None:
    box = Box(left=60, top=40, right=140, bottom=80)
    drawn = panel(WHITE, boxes=[("", box)], size=(100, 200))
    assert (drawn[46:74, 66:134] == 255).all()
    assert (drawn[40, 70:130] != 255).any()


def test_a_name_stands_beside_its_object_inside_the_panel() -> None:
    named = panel(WHITE, masks=[("Gun", MASK)], size=(100, 200))
    plain = panel(WHITE, masks=[("", MASK)], size=(100, 200))
    top, left, bottom, right = changed(named, plain)
    assert 0 < left < right < 200
    assert 0 < top < bottom <= 100
    assert not (named[44:76, 64:136] != plain[44:76, 64:136]).any()


def test_names_of_two_objects_in_one_place_do_not_hide_each_other() -> None:
    colours = {"Gun": COLOURS[0], "Bullet": COLOURS[1]}
    both = [("Gun", MASK), ("Bullet", MASK)]
    drawn = panel(WHITE, masks=both, colours=colours, size=(300, 600))
    areas = [int((drawn == np.array(c, np.uint8)).all(axis=2).sum()) for c in COLOURS[:2]]
    assert min(areas) > 200


@pytest.mark.parametrize(("positive", "light"), [(True, True), (False, False)])
def test_a_point_is_light_on_the_object_and_dark_beside_it(positive: bool, light: bool) -> None:
    grey = np.full((100, 200, 3), 128, np.uint8)
    drawn = panel(grey, points=[Point(x=100, y=50, positive=positive)], size=(100, 200))
    assert (drawn[50, 104, 0] > 128) is np.bool_(light)


def test_an_alarm_frames_the_panel_and_says_why() -> None:
    drawn = panel(WHITE, alarm="empty mask: Gun", size=(100, 200))
    assert tuple(drawn[0, 0]) == ALARM
    assert drawn.shape[0] > panel(WHITE, size=(100, 200)).shape[0]


def test_names_of_one_panel_differ_in_colour_even_when_there_are_more_names_than_colours() -> None:
    groups = [[f"{group}-{number}" for number in range(4)] for group in range(6)]
    colours = colours_of(groups)
    assert len(colours) == 24
    assert all(len({colours[name] for name in group}) == 4 for group in groups)


def test_colours_stay_apart_for_people_who_see_no_red_or_green() -> None:
    # Luminance and blueness are what a deuteranope has left.
    seen = np.array([(0.3 * r + 0.6 * g + 0.1 * b, b - (r + g) / 2) for r, g, b in COLOURS])
    apart = np.abs(seen[:, None] - seen[None]).max(axis=2) + np.eye(len(COLOURS)) * 255
    assert apart.min() > 20


@pytest.mark.parametrize(("number", "columns", "rows"), [(1, 1, 1), (4, 4, 1), (5, 4, 2)])
def test_a_contact_sheet_has_rows_of_panels_of_1600_pixels(
    number: int, columns: int, rows: int
) -> None:
    cells = [Cell(image=WHITE, masks=[("Gun", MASK)], title=str(i)) for i in range(number)]
    drawn = contact_sheet(cells)
    assert abs(drawn.shape[1] - 1600) <= columns
    panel_height = (drawn.shape[0] - 12) // rows
    assert drawn.shape[0] == 12 + rows * panel_height


def test_a_sheet_takes_panels_of_any_size_row_by_row() -> None:
    panels = [np.full((20, 30, 3), shade, np.uint8) for shade in (10, 20)]
    panels.append(np.full((10, 10, 3), 30, np.uint8))
    drawn = sheet(panels, columns=2)
    assert drawn.shape == (12 + 2 * 32, 12 + 2 * 42, 3)
    assert drawn[12, 12, 0] == 10
    assert drawn[12, 12 + 42, 0] == 20
    assert drawn[12 + 32, 12, 0] == 30


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 cells; a sheet needs at least one"):
        contact_sheet([])


def test_a_written_picture_has_its_colours_and_a_folder(tmp_path: Path) -> None:
    write_picture(tmp_path / "new" / "red.PNG", np.full((4, 6, 3), (200, 30, 10), np.uint8))
    read = cv2.imread(str(tmp_path / "new" / "red.PNG"))
    assert read is not None
    assert (read == (10, 30, 200)).all()


@pytest.mark.parametrize(
    ("name", "height", "said"),
    [
        ("sheet.gif", 4, "no suffix of a picture; name it .png or .jpg"),
        ("sheet.jpg", 70_000, "4 x 70000 pixels cannot be one picture of this kind; draw fewer"),
    ],
)
def test_what_cannot_be_written_is_refused(
    name: str, height: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        write_picture(tmp_path / name, np.zeros((height, 4, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
