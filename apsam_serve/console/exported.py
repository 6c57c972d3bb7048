"""A project in other programs' forms, as one zip file."""

from __future__ import annotations

import asyncio
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Final

from aiohttp import web

from apsam_serve.console.exports import EXPORTS
from apsam_serve.console.project import Project
from apsam_serve.errors import NotInProjectError

NAMES: Final = tuple(EXPORTS)
_CHUNK_BYTES = 2**18


async def send(request: web.Request, project: Project, name: str) -> web.StreamResponse:
    """Write an export beside the event loop, then send it piece by piece. Raises
    NotInProjectError for a form that there is none of, and what the export raises."""
    if name not in EXPORTS:
        raise NotInProjectError(f"there is no export {name!r}; choose one of {', '.join(NAMES)}")
    with tempfile.TemporaryFile() as file:
        await asyncio.to_thread(_pack, project, name, file)
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/zip",
                "Content-Disposition": f'attachment; filename="apsam-{name}.zip"',
                "Cache-Control": "no-store",
            }
        )
        response.content_length = file.seek(0, 2)
        file.seek(0)
        await response.prepare(request)
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            await response.write(chunk)
        await response.write_eof()
        return response


def _pack(project: Project, name: str, file: IO[bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix="apsam-export-") as folder:
        out = Path(folder, name)
        written = EXPORTS[name](project, out)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in written:
                archive.write(path, path.relative_to(out).as_posix())
