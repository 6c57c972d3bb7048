"""What the handlers of one console share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from apsam_serve.client import AsyncClient, ServerInfo
from apsam_serve.console.imports import Imports
from apsam_serve.console.leases import Leases
from apsam_serve.console.pictures import Pictures
from apsam_serve.console.project import Project
from apsam_serve.console.rows import ImageRow
from apsam_serve.errors import ProjectError


@dataclass(eq=False, kw_only=True)
class Desk:
    """reviewer, round: of objects that name none themselves; service: what the service last said
    of itself, None before it did."""

    project: Project
    client: AsyncClient
    reviewer: str
    round: int
    leases: Leases
    imports: Imports
    pictures: Pictures = field(default_factory=Pictures)
    service: ServerInfo | None = None

    async def image(self, number: int) -> ImageRow:
        """Raises NotInProjectError."""
        return await asyncio.to_thread(self.project.image, number)

    def load(self, row: ImageRow) -> Callable[[], Awaitable[bytes]]:
        """Reads its file when called. Raises ProjectError."""
        return lambda: asyncio.to_thread(_read, self.project.file_of(row))

    async def close(self) -> None:
        """Leave nothing behind: no import, no held picture, no connection, no open project."""
        await self.imports.close()
        await self.leases.close()
        await self.client.close()
        await asyncio.to_thread(self.project.close)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProjectError(
            f"{path} cannot be read ({error.strerror}); put the file back where the project had it"
        ) from error
