import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_train.synth import SynthConfig, generate
from apsam_train.synth.palettes import PALETTES, colourise
from apsam_train.synth.spectrum import spectrum
from apsam_train.synth.transmission import transmission_images

ORGANIC, INORGANIC, METAL = (10, 20), (40, 60), (95, 110)
SLABS = [
    ("polyethylene", 20, ORGANIC),
    ("water", 30, ORGANIC),
    ("cotton", 60, ORGANIC),
    ("paper", 20, ORGANIC),
    ("rdx", 20, ORGANIC),
    ("aluminium", 5, INORGANIC),
    ("aluminium", 20, INORGANIC),
    ("glass", 8, INORGANIC),
    ("pvc", 10, INORGANIC),
    ("iron", 0.5, METAL),
    ("iron", 2.5, METAL),
    ("steel", 4, METAL),
    ("copper", 1, METAL),
]


def slab(material: str, mm: float, palette: str) -> NDArray[np.uint8]:
    layer = np.full((24, 24), mm, np.float32)
    low, high = transmission_images({material: layer}, (24, 24), spectrum())
    return colourise(low, high, palette)


def hues(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV hue of coloured pixels; white, grey and black have none."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    coloured: NDArray[np.uint8] = hsv[..., 0][(hsv[..., 1] > 40) & (hsv[..., 2] > 40)]
    return coloured


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize(("material", "mm", "band"), SLABS)
def test_slabs_get_the_hue_real_scanners_give_them(
    material: str, mm: float, band: tuple[int, int], palette: str
) -> None:
    found = float(np.median(hues(slab(material, mm, palette))))
    assert band[0] <= found <= band[1]


@pytest.mark.parametrize("palette", PALETTES)
def test_generated_pictures_have_their_hues_in_the_three_real_bands(palette: str) -> None:
    config = SynthConfig(side=256, palettes=(palette,), num_instances=(5, 6))
    found = np.concatenate([hues(generate(seed=5, index=i, config=config).rgb) for i in range(12)])
    shares = [float(np.mean((found >= a) & (found <= b))) for a, b in (ORGANIC, INORGANIC, METAL)]
    print(f"{palette}: organic {shares[0]:.2f} inorganic {shares[1]:.2f} metal {shares[2]:.2f}")
    assert sum(shares) > 0.85
    assert min(shares) > 0.02


@pytest.mark.parametrize("palette", PALETTES)
def test_thick_metal_is_opaque_black(palette: str) -> None:
    assert slab("lead", 6, palette).max() < 40
    assert slab("steel", 30, palette).max() < 40


@pytest.mark.parametrize(("palette", "paper"), [("hixray", 255), ("sixray", 228)])
def test_an_empty_belt_is_white_or_grey_as_on_the_real_machine(palette: str, paper: int) -> None:
    empty = np.ones((8, 8), np.float32)
    assert (colourise(empty, empty, palette) == paper).all()


def test_a_calibrated_scanner_s_colours_are_matched_at_its_steps() -> None:
    """Real steps of the orange/blue machine; 35 levels is the step between its own neighbours."""
    steps = [
        ("iron", 1.6, (50, 152, 244)),
        ("iron", 8, (18, 94, 163)),
        ("aluminium", 2, (203, 225, 181)),
        ("aluminium", 10, (140, 190, 89)),
        ("polyethylene", 8, (250, 211, 166)),
        ("polyethylene", 40, (249, 171, 83)),
    ]
    for material, mm, expected in steps:
        found = slab(material, mm, "hixray")[12, 12].astype(int)
        assert np.abs(found - expected).max() <= 35, (material, mm, found)
