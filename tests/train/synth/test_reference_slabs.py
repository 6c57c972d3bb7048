"""Serving's pseudo-colour against physics: its data, its hues, and one definition for both."""

from importlib.resources import files

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.inputs import DualEnergyInput, load
from apsam_serve.contract.pseudo_colour import PALETTES, colourise, reference_slabs
from apsam_train.synth import SynthConfig, generate
from apsam_train.synth.reference_slabs import compute, to_json
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


def test_the_committed_slabs_are_what_physics_gives() -> None:
    """Else: python -m apsam_train.synth.reference_slabs > apsam_serve/contract/reference_slabs.json

    Tolerance two units of the last digit: other machines' logarithms differ in their last bit.
    """
    held, computed = reference_slabs(), compute()
    assert [(s.name, s.effective_z) for s in held] == [(s.name, s.effective_z) for s in computed]
    for one, other in zip(held, computed, strict=True):
        assert one.ratios == pytest.approx(other.ratios, abs=2e-9, rel=0)


def test_the_committed_file_is_what_the_command_writes() -> None:
    committed = files("apsam_serve.contract").joinpath("reference_slabs.json").read_text("utf-8")
    assert committed == to_json(reference_slabs()) + "\n"


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("side", [200, 520])
def test_a_pair_sent_for_serving_gets_the_colours_it_was_written_with(
    palette: str, side: int
) -> None:
    """520 pixels are several tiles."""
    made = generate(seed=23, index=1, config=SynthConfig(side=side, palettes=(palette,)))
    pair = DualEnergyInput(
        width=side,
        height=side,
        high=made.high.tobytes(),
        low=made.low.tobytes(),
        palette=palette,
    )
    assert np.array_equal(load(pair, max_pixels=side * side).image, made.rgb)


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
