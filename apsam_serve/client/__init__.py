"""The client library: servers as a Segmenter, blocking or with asyncio, on the base install alone.

`flows` decides where a call goes, how often and what follows a refusal; `sync` and `aio` carry that
out, so that both behave alike. What is retried and what is not is said in `retries`.
"""

from apsam_serve.client.aio import AsyncClient, AsyncRemoteImage
from apsam_serve.client.aio_session import AsyncSession
from apsam_serve.client.channels import Tls
from apsam_serve.client.images import Image, file_bytes
from apsam_serve.client.requests import FASTEST
from apsam_serve.client.retries import Retries
from apsam_serve.client.server_info import ServerInfo
from apsam_serve.client.sync import Client, RemoteImage, open_server
from apsam_serve.client.sync_session import Session
from apsam_serve.engine.proposals import AttentionMap, ProposeOptions
from apsam_serve.service.convert import Proposal

__all__ = [
    "FASTEST",
    "AsyncClient",
    "AsyncRemoteImage",
    "AsyncSession",
    "AttentionMap",
    "Client",
    "Image",
    "Proposal",
    "ProposeOptions",
    "RemoteImage",
    "Retries",
    "ServerInfo",
    "Session",
    "Tls",
    "file_bytes",
    "open_server",
]
