"""Synthetic dual-energy baggage with truth masks, from physics."""

from .generator import (
    SynthConfig,
    SyntheticImage,
    SyntheticInstance,
    generate,
)

__all__ = ["SynthConfig", "SyntheticImage", "SyntheticInstance", "generate"]
