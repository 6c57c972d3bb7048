"""Chance that depends on names alone: not on order, not on what else is there."""

from __future__ import annotations

import hashlib


def chance(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1), evenly spread over names; the same for the same arguments, always."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{name}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48
