"""Threat shapes: one file per family of Table 7; each function draws one item, varied by `rng`.

Coordinates are millimetres around the item's middle, thickness is along the beam.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from ..shapes import Drawing
from . import batons, batteries, blades, electronics, firearms, liquids, others, scissors, tools

DrawThreat: TypeAlias = Callable[[np.random.Generator], Drawing]

THREATS: Final[Mapping[str, DrawThreat]] = MappingProxyType(
    {
        "ColumnarBlockBattery": batteries.columnar_block_battery,
        "MotorBattery": batteries.motor_battery,
        "PlasticbottleLiquid": liquids.plastic_bottle,
        "GlassbottleLiquid": liquids.glass_bottle,
        "MetalbottleLiquid": liquids.metal_bottle,
        "MetalhandleFruitknife": blades.metal_handle_fruit_knife,
        "PlastichandleFruitknife": blades.plastic_handle_fruit_knife,
        "MetalhandleCleaver": blades.metal_handle_cleaver,
        "PlastichandleCleaver": blades.plastic_handle_cleaver,
        "MetalhandleScissors": scissors.metal_handle_scissors,
        "PlastichandleScissors": scissors.plastic_handle_scissors,
        "Scissors": scissors.small_scissors,
        "ExpandableBatons": batons.expandable_baton,
        "Baton": batons.baton,
        "Powerbank": electronics.powerbank,
        "Mobilephone": electronics.mobile_phone,
        "Laptop": electronics.laptop,
        "Hammer": tools.hammer,
        "Pliers": tools.pliers,
        "Wrench": tools.wrench,
        "Screwdriver": tools.screwdriver,
        "Gun": firearms.gun,
        "Bullet": firearms.bullet,
        "Pressure": others.pressure,
        "Handcuffs": others.handcuffs,
        "Lighter": others.lighter,
        "Fireworks": others.fireworks,
        "Dart": others.dart,
        "Razorblade": others.razor_blade,
        "Sawblade": others.saw_blade,
    }
)
