"""Synthetic dual-energy baggage with truth masks, from physics."""

from .generator import (
    SynthConfig,
    SynthConfigError,
    SyntheticImage,
    SyntheticInstance,
    generate,
)

__all__ = ["SynthConfig", "SynthConfigError", "SyntheticImage", "SyntheticInstance", "generate"]
