"""Views: what stays, what goes, and that the definition is the energy branch's."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.client import AttentionMap
from apsam_serve.console import views
from apsam_serve.contract.images import decode
from apsam_serve.contract.pseudo_colour import PALETTES

WHITE = 255


def patch(hue: float, saturation: int, value: int) -> NDArray[np.uint8]:
    """One colour, as OpenCV counts, uint8 [4, 4, 3]."""
    red, green, blue = colorsys.hsv_to_rgb(hue / 180, saturation / 255, value / 255)
    return np.full((4, 4, 3), np.rint(np.array([red, green, blue]) * 255), np.uint8)


def kept(view: NDArray[np.uint8], image: NDArray[np.uint8]) -> bool:
    """True where a view left a patch alone, False where it left a ghost."""
    if np.array_equal(view, image):
        return True
    # A ghost has no colour and is nearly air.
    assert int(np.ptp(view)) <= 1
    assert view.min() > WHITE * (1 - 0.25)
    return False


@pytest.mark.parametrize("name", PALETTES)
def test_every_palettes_materials_are_told_apart(name: str) -> None:
    palette = PALETTES[name]
    tones = {"organic": palette.organic, "inorganic": palette.inorganic, "metal": palette.metal}
    for material, tone in tones.items():
        for knot in (4, 7):
            image = patch(tone.hue, round(tone.saturation[knot]), round(tone.value[knot]))
            assert kept(views.organic(image), image) is (material == "organic"), (material, knot)
            assert kept(views.metal(image), image) is (material == "metal"), (material, knot)


@pytest.mark.parametrize(
    ("colour", "organic", "metal"),
    [
        ((0, 0, 0), False, True),  # opaque
        ((14, 6, 2), False, True),  # opaque too: its hue is noise
        ((90, 60, 30), True, False),
        ((20, 45, 80), False, True),
    ],
)
def test_what_no_ray_came_through_counts_as_metal(
    colour: tuple[int, int, int], organic: bool, metal: bool
) -> None:
    image = np.full((4, 4, 3), colour, np.uint8)
    assert kept(views.organic(image), image) is organic
    assert kept(views.metal(image), image) is metal


def test_air_stays_air_in_both() -> None:
    air = np.full((4, 4, 3), WHITE, np.uint8)
    assert np.array_equal(views.organic(air), air)
    assert np.array_equal(views.metal(air), air)


def test_the_inverse_turns_brightness_over_keeps_hues_and_undoes_itself(
    bag: NDArray[np.uint8],
) -> None:
    turned = views.inverse(bag)
    assert np.array_equal(views.inverse(turned), bag)
    assert (turned[0, 0] == 0).all()
    orange, dark = bag[38, 58] / 255, turned[38, 58] / 255
    assert colorsys.rgb_to_hls(*dark)[0] == pytest.approx(colorsys.rgb_to_hls(*orange)[0])
    assert colorsys.rgb_to_hls(*dark)[1] == pytest.approx(1 - colorsys.rgb_to_hls(*orange)[1])


def test_energies_are_the_largest_and_the_smallest_channel(bag: NDArray[np.uint8]) -> None:
    for view, plane in ((views.energy_max, bag.max(axis=2)), (views.energy_min, bag.min(axis=2))):
        assert all(np.array_equal(view(bag)[:, :, channel], plane) for channel in range(3))


@pytest.mark.parametrize("name", views.VIEWS)
def test_a_view_leaves_the_picture_alone_and_becomes_a_png_of_its_size(
    name: str, bag: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bag.copy()
    drawn = views.VIEWS[name](bag)
    monkeypatch.setattr(views, "_BAND_PIXELS", 7 * 80)
    assert np.array_equal(views.draw(name, bag), drawn)
    assert np.array_equal(bag, before)
    assert np.array_equal(decode(views.to_png(drawn)), drawn)
    assert drawn.shape == bag.shape


def test_heat_lies_where_the_attention_is_and_is_nothing_without(
    bag: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def attention(**at: float) -> AttentionMap:
        """Cells of 10 x 10 pixels, with values at "row_column"."""
        values = np.zeros((6, 8), np.float32)
        for place, value in at.items():
            row, column = map(int, place[1:].split("_"))
            values[row, column] = value
        return AttentionMap(values=values, cell_height=10, cell_width=10)

    assert np.array_equal(views.heat(bag, attention()), views.grey(bag))
    seen = attention(p4_6=0.01, p2_2=0.004, p0_7=0.001)
    drawn = views.heat(bag, seen)
    change = np.abs(drawn.astype(int) - views.grey(bag)).sum(axis=2)
    for y, x in ((45, 65), (25, 25), (0, 79)):
        assert change[y, x] > 0, (y, x)
    assert change[58, 2] == 0
    yellow = drawn[45, 65].astype(int)
    assert yellow[1] > yellow[2]  # the bright end of viridis
    monkeypatch.setattr(views, "_BAND_PIXELS", 7 * 80)
    assert np.abs(views.heat(bag, seen).astype(int) - drawn).max() <= 1


def test_brightness_alone_tells_where_the_attention_is_stronger() -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32)[None]
    ramp = AttentionMap(values=values, cell_height=1, cell_width=1)
    for shade in (0, 90):
        drawn = views.heat(np.full((1, 64, 3), shade, np.uint8), ramp)
        lightness = drawn[0] @ (0.2126, 0.7152, 0.0722)
        assert (np.diff(lightness[lightness.argmin() :]) > -1).all()
