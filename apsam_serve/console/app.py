"""The console as a web application: the page's files, the API behind the guard, and how it runs."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from apsam_serve.client import AsyncClient, Retries, Tls
from apsam_serve.console.api import Api
from apsam_serve.console.desk import Desk
from apsam_serve.console.faults import tell
from apsam_serve.console.guard import Hosts, guard, mark
from apsam_serve.console.imports import Imports
from apsam_serve.console.leases import Leases
from apsam_serve.console.project import Project
from apsam_serve.console.rows import check_reviewer
from apsam_serve.contract.images import MAX_BYTES
from apsam_serve.errors import InvalidInputError, NotServingError

LOCAL: Final = "127.0.0.1"
PAGE: Final = Path(__file__).with_name("page")
_GRACE_S: Final = 1.0
"""For answers on their way when the console ends."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """servers: HOST:PORT each; listen, port: of the page, port 0 picks a free one; hosts: other
    names that it is opened under; project: folder for the work; images: folder below which folders
    may be imported, None for none; reviewer, round: who works, and in which round of annotation;
    timeout_s: of a call to the service."""

    servers: Sequence[str]
    project: Path
    listen: str = LOCAL
    port: int = 8080
    hosts: Sequence[str] = ()
    images: Path | None = None
    reviewer: str = ""
    round: int = 1
    timeout_s: float = 30.0
    tls: Tls | None = None


@asynccontextmanager
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """What one console works with, while it does. Raises ProjectError, InvalidInputError."""
    check_reviewer(settings.reviewer, settings.round)
    if settings.images is not None and not settings.images.is_dir():
        raise InvalidInputError(f"--images {settings.images} is no folder; give one that is")
    client = AsyncClient(
        settings.servers,
        timeout_s=settings.timeout_s,
        tls=settings.tls,
        # The page asks again by itself and says so meanwhile; `Leases` bridges a moment.
        retries=Retries(max_attempts=1),
    )
    project = Project.open(settings.project)
    opened = Desk(
        project=project,
        client=client,
        reviewer=settings.reviewer,
        round=settings.round,
        leases=Leases(client),
        imports=Imports(project, root=settings.images),
    )
    try:
        yield opened
    finally:
        await opened.close()


def application(opened: Desk, hosts: Hosts) -> web.Application:
    """Everything that is served."""
    app = web.Application(middlewares=[guard(hosts), tell], client_max_size=MAX_BYTES)
    app.on_response_prepare.append(mark)
    app.add_routes(Api(opened).routes())
    app.router.add_get("/", _page)
    app.router.add_static("/static", PAGE)
    return app


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """Serve inside the block; yields the page's address. Raises NotServingError when the port is
    taken, and what `desk` does."""
    async with desk(settings) as opened:
        app = application(opened, Hosts([settings.listen, *settings.hosts]))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.listen, settings.port).start()
        except (OSError, OverflowError) as error:
            await runner.cleanup()
            raise NotServingError(
                f"cannot listen on {settings.listen}:{settings.port} ({error}); give a free --port"
            ) from error
        try:
            yield _address(settings.listen, runner.addresses[0][1])
        finally:
            await runner.cleanup()


async def _page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(PAGE / "index.html")


def _address(listen: str, port: int) -> str:
    try:
        address = ipaddress.ip_address(listen)
    except ValueError:
        return f"http://{listen}:{port}/"
    if address.is_unspecified:
        return f"http://{LOCAL}:{port}/"
    return f"http://[{listen}]:{port}/" if address.version == 6 else f"http://{listen}:{port}/"
