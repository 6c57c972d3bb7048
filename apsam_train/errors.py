"""Every error training raises on purpose; all are `apsam_serve.errors.ApsamError`.

ApsamError
├── CheckpointError    a checkpoint is damaged, or belongs to another preset or weights
├── DatasetError       a data set folder or annotation file is not what it claims to be
└── ConfigError        an option or configuration value cannot work
"""

from __future__ import annotations

from apsam_serve.errors import ApsamError, InvalidInputError


class CheckpointError(ApsamError):
    """Raised by `apsam_train.checkpoint`; the message names the file."""

    reason = "BAD_CHECKPOINT"


class DatasetError(ApsamError):
    """Raised by `apsam_train.data`; the message names the file or folder."""

    reason = "BAD_DATASET"


class ConfigError(InvalidInputError):
    """Raised by commands and `apsam_train.config`; the message names the option."""

    reason = "BAD_CONFIG"
