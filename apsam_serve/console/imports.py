"""Folders of pictures, and COCO files of objects on them, on their way into the project, beside the
event loop."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apsam_serve.console.importing import Progress, Refused, import_folder
from apsam_serve.console.importing_coco import Imported, import_coco
from apsam_serve.console.project import Project
from apsam_serve.errors import ApsamError, InvalidInputError, NotInProjectError

_COCO_SUFFIX = ".json"
_KEPT = 100
"""Ended imports that can still be asked about."""
_log = logging.getLogger("apsam_serve.console")


class _StoppedError(Exception):
    """The console ends."""


@dataclass(eq=False)
class _Job:
    done: int = 0
    total: int = 0
    refused: Sequence[Refused] = field(default_factory=list)
    imported: Imported | None = None
    finished: bool = False
    error: str | None = None

    def document(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "total": self.total,
            "objects": None if self.imported is None else _told(self.imported),
            "refused": [{"name": one.name, "why": one.why} for one in self.refused],
            "finished": self.finished,
            "error": self.error,
        }


class Imports:
    """root: the folder below which may be imported, None for nowhere. What ends in .json is a COCO
    file."""

    def __init__(self, project: Project, *, root: Path | None) -> None:
        self.root = None if root is None else root.resolve()
        self._project = project
        self._jobs: dict[str, _Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def start(self, place: str) -> str:
        """Begin the import of a folder or COCO file, and name it. Raises InvalidInputError."""
        path = self._below_root(place)
        name, job = str(uuid.uuid4()), _Job()
        self._jobs[name] = job
        while len(self._jobs) > _KEPT:
            del self._jobs[next(iter(self._jobs))]
        task = asyncio.create_task(self._run(path, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return name

    def document(self, name: str) -> dict[str, Any]:
        """How far an import is. Raises NotInProjectError."""
        job = self._jobs.get(name)
        if job is None:
            raise NotInProjectError(f"there is no import {name[:80]!r}; start it again")
        return job.document()

    async def close(self) -> None:
        """Stop after the picture that is on its way."""
        self._stopped = True
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, path: Path, job: _Job) -> None:
        def progress(done: int, total: int) -> None:
            if self._stopped:
                raise _StoppedError
            job.done, job.total = done, total

        try:
            await asyncio.to_thread(self._import, path, job, progress)
        except _StoppedError:
            job.error = "the console ended"
        except ApsamError as error:
            job.error = str(error)
        except Exception:
            _log.exception("importing %s failed", path)
            job.error = "the console failed at this; what apsam-console printed says more"
        finally:
            job.finished = True

    def _import(self, path: Path, job: _Job, progress: Progress) -> None:
        if path.is_dir():
            job.refused = import_folder(self._project, path, progress, root=self.root)
            return
        job.imported = import_coco(self._project, path, progress)
        job.refused = job.imported.refused

    def _below_root(self, place: str) -> Path:
        """Links are followed first, so none leads out."""
        if self.root is None:
            raise InvalidInputError(
                "this console imports no folders; start it with --images FOLDER, or drop the files "
                "on the page"
            )
        try:
            path = (self.root / place).resolve()
            fits = path.is_dir() or (path.is_file() and path.suffix.lower() == _COCO_SUFFIX)
        except (OSError, RuntimeError, ValueError):  # names too long, loops of links, a NUL
            fits = False
        if not fits or not path.is_relative_to(self.root):
            raise InvalidInputError(
                f"{place[:80]!r} is no folder or COCO file below {self.root}; give one, or start "
                "apsam-console with another --images"
            )
        return path


def _told(imported: Imported) -> dict[str, Any]:
    """added; known: that the project has or once had; nameless: added without their category, which
    is none of this project's."""
    return {
        "added": imported.num_objects,
        "known": imported.num_known,
        "nameless": imported.nameless.total(),
    }
