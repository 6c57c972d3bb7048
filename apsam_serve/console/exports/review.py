"""What `apsam-train annotate accept` takes: one COCO file per round and reviewer.

It lists the images that the reviewer set to done, and of each the objects that stand: an image
without any says that all proposals on it were wrong. `info` names round and reviewer, and the
command that hands the file in.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from apsam_serve.console.exports.coco import as_rle, coco_document
from apsam_serve.console.exports.contents import Annotated
from apsam_serve.console.exports.files import write_json
from apsam_serve.errors import InvalidInputError

_UNNAMED = "unnamed"
_FOREIGN = re.compile(r"[^\w-]+")


def write(contents: Sequence[Annotated], folder: Path) -> None:
    """Write a file per round and reviewer. Raises InvalidInputError where no image is done."""
    groups: dict[tuple[int, str], list[Annotated]] = defaultdict(list)
    for entry in contents:
        if entry.image.status == "done":
            groups[entry.image.round, entry.image.reviewer or _UNNAMED].append(entry)
    if not groups:
        raise InvalidInputError(
            "0 images are done, and a review holds finished images only; set those that need no "
            "more work to done"
        )
    for (number, reviewer), entries in sorted(groups.items()):
        name = _free_name(folder, f"round-{number}-{_FOREIGN.sub('_', reviewer)}")
        command = (
            f"apsam-train annotate accept ROUND --corrected {shlex.quote(name)} "
            f"--reviewer {shlex.quote(reviewer)}"
        )
        info = {"round": number, "reviewer": reviewer, "command": command}
        write_json(folder / name, {"info": info, **coco_document(entries, as_rle)})


def _free_name(folder: Path, stem: str) -> str:
    """Two names that differ in letter case or signs alone are two reviewers."""
    taken = {file.name.casefold() for file in folder.iterdir()}
    name, number = f"{stem}.json", 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}.json"
    return name
