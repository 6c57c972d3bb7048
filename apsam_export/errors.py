"""Every error export raises on purpose.

ApsamError
├── ParityError    a build does not compute what the checkpoint computes; nothing is written
├── RangeError     a value of the model does not fit the precision asked for; nothing is written
├── PlanError      a plan cannot be compiled: library or GPU missing, or the compiler refused
└── KernelError    a GPU kernel cannot be compiled: library missing, or architecture unknown
"""

from __future__ import annotations

from apsam_serve.errors import ApsamError


class ParityError(ApsamError):
    """Raised by `apsam_export.gate.parity`; the message holds the figure and the threshold."""

    reason = "PARITY"


class RangeError(ApsamError):
    """Raised by `apsam_export.ranges`; the message names the tensor and its largest value."""

    reason = "RANGE"


class PlanError(ApsamError):
    """Raised by `apsam_export.plans`; the message says what is missing and how to install it."""

    reason = "PLANS"


class KernelError(ApsamError):
    """Raised by `apsam_export.kernels`; the message lists what the compiler knows, or its log."""

    reason = "KERNELS"
