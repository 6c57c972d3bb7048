"""What a verb leaves to be printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """document: for --json, None where the verb has printed it already; text: for people; code: the
    exit code; error: what ended it."""

    document: Mapping[str, Any] | None
    text: str = ""
    code: int = 0
    error: Exception | None = None
