"""What the faulty double does, told through a file while its server runs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

ENVIRONMENT = "APSAM_TEST_BEHAVIOUR"
"""Names the file."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """encode_ms: per image; decode_ms: per prompt; closed: the device keeps what reaches it until
    it is opened; fault: how work fails; only_left_of: the fault hits only clicks left of that, in
    model pixels, None for all work; keepalive_ms: of the server's connections, read at its start,
    0 for what the server sets."""

    encode_ms: float = 0.0
    decode_ms: float = 0.0
    closed: bool = False
    fault: Literal["nan", "oom", "device"] | None = None
    only_left_of: float | None = None
    keepalive_ms: int = 0


def write(path: Path, behaviour: Behaviour) -> None:
    """Whole or not at all: the server may read it at any moment."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(behaviour)), "utf-8")
    os.replace(new, path)


class Watched:
    """The file's content, read again whenever it is another file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._known = Behaviour()

    def now(self) -> Behaviour:
        """What the file says."""
        found = self._path.stat()
        stamp = found.st_ino, found.st_mtime_ns
        if stamp != self._stamp:
            self._known = Behaviour(**json.loads(self._path.read_text("utf-8")))
            self._stamp = stamp
        return self._known
