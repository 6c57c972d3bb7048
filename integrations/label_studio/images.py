"""A task's image, wherever Label Studio says that it is, and from nowhere else.

Label Studio hands on whatever address a task was imported with, so whoever may import a task could
have this process ask any machine it can reach. Therefore only Label Studio itself is asked, what
its owner allows beside it, and files of one folder; the token goes to Label Studio alone.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import aiohttp
from yarl import URL

from apsam_serve.contract.images import MAX_BYTES
from apsam_serve.errors import InvalidImageError

_LOCAL_FILES = "/data/local-files"
_MAX_HOPS = 3
_PIECE_BYTES = 2**16
_TIMEOUT = aiohttp.ClientTimeout(total=20)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """label_studio: its address, as http://localhost:8080; token: a personal access token or a
    legacy token, "" for none; local_files: the folder that Label Studio serves local files from,
    where this process sees it too; others: addresses whose origins are allowed beside."""

    label_studio: str
    token: str = ""
    local_files: Path | None = None
    others: tuple[str, ...] = ()
    max_bytes: int = MAX_BYTES


class Images:
    """Reads images of tasks. The session must not carry credentials of its own."""

    def __init__(self, session: aiohttp.ClientSession, sources: Sources) -> None:
        self._session = session
        self._sources = sources
        self._home = URL(sources.label_studio)
        self._origins = {self._home.origin(), *(URL(other).origin() for other in sources.others)}

    async def read(self, address: str) -> bytes:
        """The bytes of a file: from a data: URL, Label Studio's local files, or HTTP.

        Raises InvalidImageError for other hosts, missing and oversized files.
        """
        if address.startswith("data:"):
            data = _inline(address)
            self._check_size(data, "data: URL")
            return data
        url = self._allowed(self._home, address)
        for _ in range(_MAX_HOPS):
            folder, at_home = self._sources.local_files, url.origin() == self._home.origin()
            if folder and at_home and url.path.rstrip("/") == _LOCAL_FILES:
                return await asyncio.to_thread(self._local, folder, url.query.get("d", ""))
            found = await self._fetched(url)
            if isinstance(found, bytes):
                return found
            url = self._allowed(url, found)
        raise InvalidImageError(
            f"image is behind more than {_MAX_HOPS} redirects; name it directly"
        )

    def _allowed(self, base: URL, address: str) -> URL:
        """Parsed by what asks afterwards: two parsers may see two hosts in one address."""
        try:
            url = base.join(URL(address))
            if url.scheme in ("http", "https") and url.origin() in self._origins:
                return url
        except ValueError:
            pass
        raise InvalidImageError(
            f"image is at {address[:200]!r}, which is not at Label Studio, {self._home}; upload "
            "it, or start the back end with --allow and its origin"
        )

    async def _fetched(self, url: URL) -> bytes | str:
        """The file, or where it is instead."""
        at_home = url.origin() == self._home.origin()
        try:
            headers = await self._authorization() if at_home and self._sources.token else {}
            async with self._session.get(
                url, headers=headers, allow_redirects=False, timeout=_TIMEOUT
            ) as reply:
                if reply.status in (301, 302, 303, 307, 308):
                    return reply.headers.get("Location", "")
                if reply.status != 200:
                    raise InvalidImageError(
                        f"{url.with_query(None)} answers {reply.status}; "
                        f"{_fix(reply.status, at_home)}"
                    )
                data = bytearray()
                async for piece in reply.content.iter_chunked(_PIECE_BYTES):
                    data += piece
                    self._check_size(data, url.path)
                return bytes(data)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise InvalidImageError(
                f"{url.with_query(None)} cannot be read ({error or 'too slow'}); is it up?"
            ) from error

    async def _authorization(self) -> dict[str, str]:
        """Personal access tokens are JWTs that buy an access token of five minutes."""
        token = self._sources.token
        if token.count(".") != 2:
            return {"Authorization": f"Token {token}"}
        url = self._home.join(URL("/api/token/refresh/"))
        async with self._session.post(
            url, json={"refresh": token}, allow_redirects=False, timeout=_TIMEOUT
        ) as reply:
            if reply.status != 200:
                raise InvalidImageError(
                    f"Label Studio answers {reply.status} to the personal access token; "
                    f"{_fix(401, True)}"
                )
            return {"Authorization": f"Bearer {(await reply.json())['access']}"}

    def _local(self, folder: Path, name: str) -> bytes:
        path = (folder / name.lstrip("/")).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise InvalidImageError(f"{name!r} is no file of {folder}; check --local-files")
        with path.open("rb") as file:
            data = file.read(self._sources.max_bytes + 1)
        self._check_size(data, name)
        return data

    def _check_size(self, data: bytes | bytearray, name: str) -> None:
        if len(data) > self._sources.max_bytes:
            raise InvalidImageError(
                f"{name} has more than {self._sources.max_bytes} bytes; import a smaller file"
            )


def _inline(address: str) -> bytes:
    """The content of data:[<type>][;base64],<content>."""
    head, comma, content = address.partition(",")
    try:
        if not comma:
            raise binascii.Error("no comma")
        data = unquote_to_bytes(content)
        return base64.b64decode(data, validate=True) if head.endswith(";base64") else data
    except binascii.Error as error:
        raise InvalidImageError(
            f"data: URL is damaged ({error}); import the image again"
        ) from error


def _fix(status: int, at_home: bool) -> str:
    if at_home and status in (401, 403, 404):
        return (
            "set LABEL_STUDIO_API_KEY to a token of a user who may see the project "
            "(Account & Settings, Personal Access Token)"
        )
    return "open it in a browser to see why"
