"""One synthetic image per (seed, index): scene, physics, scanner, colour, truth."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.pseudo_colour import PALETTES, colourise
from apsam_train.errors import ConfigError

from .canvas import visible
from .materials import MATERIALS
from .plain import plain_shapes
from .scanner import ScannerConfig, scan
from .scene import PlacedThreat, compose
from .spectrum import MAX_BINS, spectrum
from .transmission import transmission_images

GENERATOR_VERSION = "1"
MIN_SIDE, MAX_SIDE = 128, 2048
MAX_INSTANCES = 20
Scene = Literal["bags", "shapes"]
SCENES: tuple[str, ...] = get_args(Scene)
SHAPE = "Shape"
"""Category of plain shapes, outside Table 7."""
# Other matter counts as overlap from -ln T = 0.1 at 60 keV, about 5 mm of water: the bag's own
# skin stays below, a folded shirt does not.
_OVERLAP_ATTENUATION = 0.1
_OVERLAP_ENERGY_KEV = 60.0


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """What to draw. `scene`: "bags", or "shapes" (see `plain`); `num_instances` is (least, most)
    threats or shapes; `clutter` scales harmless things, or the background behind shapes; palettes
    and physics are those of bags."""

    scene: Scene = "bags"
    side: int = 512
    palettes: tuple[str, ...] = tuple(PALETTES)
    num_instances: tuple[int, int] = (2, 6)
    clutter: float = 1.0
    num_energy_bins: int = MAX_BINS
    scanner: ScannerConfig = field(default_factory=ScannerConfig)

    def __post_init__(self) -> None:
        if not MIN_SIDE <= self.side <= MAX_SIDE:
            raise ConfigError(
                f"side is {self.side}: expected {MIN_SIDE} to {MAX_SIDE} pixels; 512 is usual"
            )
        if self.scene not in SCENES:
            raise ConfigError(f"scene is {self.scene!r}: expected one of {', '.join(SCENES)}")
        unknown = [name for name in self.palettes if name not in PALETTES]
        if unknown or not self.palettes:
            raise ConfigError(
                f"palettes are {self.palettes!r}: expected one or more of {', '.join(PALETTES)}"
            )
        least, most = self.num_instances
        if not 0 <= least <= most <= MAX_INSTANCES:
            raise ConfigError(
                f"num_instances is {self.num_instances!r}: expected 0 <= least <= most <= "
                f"{MAX_INSTANCES}; (2, 6) is usual"
            )
        if not 0 <= self.clutter <= 3:
            raise ConfigError(f"clutter is {self.clutter}: expected 0 to 3; 1 is usual")
        spectrum(self.num_energy_bins)


@dataclass(frozen=True, kw_only=True)
class SyntheticInstance:
    """One threat. `mask` [H, W] bool is amodal: all of it, whatever lies over or under it.

    `overlap` in 0..1 is the share of the mask where anything else in the beam (cloth, books, other
    threats) attenuates by -ln T >= 0.1 at 60 keV, about 5 mm of water.
    """

    category: str
    mask: NDArray[np.bool_]
    materials: tuple[str, ...]
    overlap: float


@dataclass(frozen=True, kw_only=True)
class SyntheticImage:
    """`rgb` uint8 [H, W, 3]; `high`, `low` uint16 [H, W] transmission, 65535 the open beam."""

    rgb: NDArray[np.uint8]
    high: NDArray[np.uint16]
    low: NDArray[np.uint16]
    palette: str
    instances: tuple[SyntheticInstance, ...]


_DEFAULT = SynthConfig()


def generate(*, seed: int, index: int, config: SynthConfig = _DEFAULT) -> SyntheticImage:
    """The same (seed, index, config) gives the same bytes, whatever else is generated."""
    if seed < 0 or index < 0:
        raise ConfigError(f"seed is {seed}, index is {index}: expected 0 or more for both")
    rng = np.random.default_rng([seed, index])
    if config.scene == "shapes":
        return _shapes(config, rng)
    palette = str(rng.choice(list(config.palettes)))
    scene = compose(config.side, config.num_instances, config.clutter, rng)
    shape = (config.side, config.side)
    ideal = transmission_images(scene.canvas.layers, shape, spectrum(config.num_energy_bins))
    low, high = scan(*ideal, config.scanner, rng)
    scale = np.float32(1 / 65535)
    rgb = colourise(low.astype(np.float32) * scale, high.astype(np.float32) * scale, palette)
    attenuation = _attenuation(scene.canvas.layers, shape)
    instances = tuple(_truth(threat, attenuation) for threat in scene.threats)
    return SyntheticImage(rgb=rgb, high=high, low=low, palette=palette, instances=instances)


def _shapes(config: SynthConfig, rng: np.random.Generator) -> SyntheticImage:
    rgb, masks = plain_shapes(
        side=config.side, num_instances=config.num_instances, texture=config.clutter, rng=rng
    )
    covered = np.zeros(rgb.shape[:2], np.int64)
    for mask in masks:
        covered += mask
    return SyntheticImage(
        rgb=rgb,
        high=rgb.max(axis=2).astype(np.uint16) * 257,
        low=rgb.min(axis=2).astype(np.uint16) * 257,
        palette="none",
        instances=tuple(
            SyntheticInstance(
                category=SHAPE,
                mask=mask,
                materials=(),
                overlap=round(float((covered[mask] > 1).mean()), 4),
            )
            for mask in masks
        ),
    )


def _attenuation(
    layers: dict[str, NDArray[np.float32]], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """-ln T at one energy of stacked thickness maps, [h, w]."""
    total = np.zeros(shape, np.float32)
    energy = np.array([_OVERLAP_ENERGY_KEV])
    for name in sorted(layers):
        total += layers[name] * np.float32(MATERIALS[name].linear_attenuation(energy)[0])
    return total


def _truth(threat: PlacedThreat, attenuation: NDArray[np.float32]) -> SyntheticInstance:
    sprite = threat.sprite
    side = attenuation.shape[0]
    mask = np.zeros((side, side), bool)
    window = visible(sprite, side)
    assert window is not None, "a threat is placed inside the picture"
    target, source = window
    own = sprite.coverage[source] > 0.5
    mask[target] = own
    others = attenuation[target] - _attenuation(sprite.layers, sprite.coverage.shape)[source]
    covered = int(np.count_nonzero(others[own] >= _OVERLAP_ATTENUATION))
    return SyntheticInstance(
        category=threat.category,
        mask=mask,
        materials=tuple(name for name, layer in sprite.layers.items() if layer.any()),
        overlap=round(covered / max(1, int(np.count_nonzero(own))), 4),
    )
