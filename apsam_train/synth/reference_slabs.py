"""What the pseudo-colour of `apsam_serve.contract.pseudo_colour` knows of physics.

python -m apsam_train.synth.reference_slabs > apsam_serve/contract/reference_slabs.json
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Final

import numpy as np

from apsam_serve.contract.pseudo_colour import ReferenceSlab, attenuations

from .spectrum import spectrum
from .transmission import transmit_direct

# Name -> effective atomic number, ordered by R at every thickness.
_SLABS: Final = (
    ("polyethylene", 5.4),
    ("water", 7.4),
    ("rubber", 10.6),
    ("aluminium", 13.0),
    ("circuit_board", 15.0),
    ("li_ion_cell", 19.4),
    ("iron", 26.0),
    ("copper", 29.0),
)
# Every table has the same bytes with 7 digits as with all of them; with 6, seven bytes differ.
_DIGITS: Final = 9


def compute() -> tuple[ReferenceSlab, ...]:
    """The curves of the reference slabs, to nine digits."""
    thickness = np.geomspace(1e-3, 1500.0, 1200).astype(np.float32)
    slabs = []
    for name, effective_z in _SLABS:
        low, high = -np.log(transmit_direct(thickness[None], [name], spectrum()) + 1e-30)
        ratios = np.interp(attenuations(), high, low / high).round(_DIGITS).tolist()
        slabs.append(ReferenceSlab(name=name, effective_z=effective_z, ratios=tuple(ratios)))
    return tuple(slabs)


def to_json(slabs: Iterable[ReferenceSlab]) -> str:
    """The text of the data file: a slab a line."""
    return "[\n" + ",\n".join(json.dumps(asdict(slab)) for slab in slabs) + "\n]"


if __name__ == "__main__":
    print(to_json(compute()))
