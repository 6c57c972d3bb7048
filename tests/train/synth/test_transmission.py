import numpy as np
import pytest

from apsam_train.synth.materials import MATERIALS, attenuation_matrix
from apsam_train.synth.spectrum import MAX_BINS, MIN_BINS, spectrum
from apsam_train.synth.transmission import transmission_images, transmit, transmit_direct

# material, thickness in mm, T_low, T_high of a full-resolution 160 kVp computation
REFERENCE = [
    ("polyethylene", 10, 0.825, 0.849),
    ("polyethylene", 50, 0.385, 0.441),
    ("polyethylene", 100, 0.150, 0.195),
    ("polyethylene", 200, 0.024, 0.039),
    ("water", 10, 0.798, 0.839),
    ("water", 50, 0.334, 0.418),
    ("water", 100, 0.117, 0.176),
    ("water", 200, 0.016, 0.032),
    ("rdx", 10, 0.690, 0.746),
    ("rdx", 20, 0.480, 0.556),
    ("rdx", 50, 0.166, 0.232),
    ("rdx", 100, 0.031, 0.055),
    ("pvc", 10, 0.563, 0.748),
    ("pvc", 20, 0.350, 0.563),
    ("pvc", 50, 0.105, 0.248),
    ("aluminium", 10, 0.415, 0.606),
    ("aluminium", 20, 0.201, 0.372),
    ("aluminium", 50, 0.031, 0.091),
    ("glass", 10, 0.451, 0.628),
    ("glass", 20, 0.230, 0.399),
    ("glass", 50, 0.040, 0.107),
    ("iron", 0.5, 0.541, 0.822),
    ("iron", 2.5, 0.139, 0.425),
    ("iron", 5, 0.048, 0.214),
    ("iron", 10, 0.011, 0.066),
    ("iron", 20, 0.0011, 0.0083),
    ("copper", 0.5, 0.432, 0.759),
    ("copper", 2.5, 0.082, 0.320),
    ("copper", 10, 0.0045, 0.031),
    ("lead", 0.5, 0.065, 0.135),
    ("lead", 2.5, 0.0002, 0.0005),
    ("li_ion_cell", 10, 0.223, 0.500),
    ("li_ion_cell", 20, 0.084, 0.271),
    ("li_ion_cell", 50, 0.010, 0.053),
]


@pytest.mark.parametrize(("material", "mm", "low", "high"), REFERENCE)
def test_slabs_transmit_what_the_reference_table_says(
    material: str, mm: float, low: float, high: float
) -> None:
    """Measured: 0.0026 at worst; lead, whose K-edge falls inside a bin, 0.0085."""
    tolerance = 0.009 if material == "lead" else 0.003
    slab = np.array([[mm]], np.float32)
    found = transmit_direct(slab, [material], spectrum())[:, 0]
    assert found == pytest.approx([low, high], abs=tolerance)


@pytest.mark.parametrize("num_bins", [MIN_BINS, 20, MAX_BINS])
def test_detected_means_hold_for_every_number_of_bins(num_bins: int) -> None:
    seen = spectrum(num_bins)
    assert len(seen.energies_kev) == num_bins
    means = seen.weights @ seen.energies_kev
    assert means == pytest.approx([61.1, 98.4], abs=0.3)


def test_fewer_than_sixteen_bins_are_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match=r"num_bins is 8: expected 16 to 29; leave it out"):
        spectrum(8)


def test_attenuation_of_stacked_objects_adds_in_every_bin() -> None:
    names = ["cotton", "steel", "paper"]
    beam = spectrum()
    mu = attenuation_matrix(names, beam.energies_kev)
    thickness = np.array([[30.0], [2.0], [12.0]], np.float32)
    by_object = np.prod([np.exp(-mu[:, i] * thickness[i, 0]) for i in range(3)], axis=0)
    found = transmit_direct(thickness, names, beam)[:, 0]
    assert found == pytest.approx(beam.weights @ by_object, rel=1e-12)


def test_two_slabs_of_one_material_equal_one_of_double_thickness() -> None:
    layer = np.full((4, 4), 3.0, np.float32)
    once = transmission_images({"steel": layer + layer}, (4, 4), spectrum())
    direct = transmit_direct(np.array([[6.0]], np.float32), ["steel"], spectrum())
    assert once[0][0, 0] == pytest.approx(direct[0, 0], rel=1e-5)


def test_fast_path_equals_the_direct_sum() -> None:
    """Tolerance 2e-6 absolute: single precision, an eighth of a 16-bit step."""
    rng = np.random.default_rng(0)
    names = sorted(MATERIALS)
    thickness = rng.exponential(2.0, (len(names), 3001)).astype(np.float32)
    thickness *= rng.random(thickness.shape) < 0.15
    fast = transmit(thickness, names, spectrum())
    direct = transmit_direct(thickness, names, spectrum())
    difference = np.abs(fast - direct)
    print(f"fast against direct: max {difference.max():.2e}, mean {difference.mean():.2e}")
    assert difference.max() < 2e-6


def test_low_energy_is_never_transmitted_better_than_high_except_behind_lead() -> None:
    for name in MATERIALS:
        thickness = np.geomspace(0.05, 60, 40, dtype=np.float32)[None]
        low, high = transmit_direct(thickness, [name], spectrum())
        assert (low <= high).all(), name


def test_an_empty_belt_is_the_open_beam() -> None:
    low, high = transmission_images({}, (5, 6), spectrum())
    assert low.shape == high.shape == (5, 6)
    assert (low == 1).all()
    assert (high == 1).all()
