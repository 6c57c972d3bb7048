"""APSAM: SAM's parts, adapters, the Energy-Aware Encoder. `build` holds every number."""

from apsam_train.models.apsam import APSAM
from apsam_train.models.build import PRESETS, build, with_category_head
from apsam_train.models.preset import Preset

__all__ = ["APSAM", "PRESETS", "Preset", "build", "with_category_head"]
