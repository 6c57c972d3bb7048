"""Every error export raises on purpose.

ApsamError
└── ParityError    a built graph does not compute what the checkpoint computes; nothing is written
"""

from __future__ import annotations

from apsam_serve.errors import ApsamError


class ParityError(ApsamError):
    """Raised by `apsam_export.parity`; the message holds the figure and the threshold."""

    reason = "PARITY"
