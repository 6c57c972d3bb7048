"""Encode an image, have the server hold it, and print its handle."""

from __future__ import annotations

import argparse
from pathlib import Path

from apsam_serve.client import Client
from apsam_serve.client_cli.documents import embedding_document
from apsam_serve.client_cli.result import Result


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    parser.add_argument("image", type=Path, help="PNG, JPEG or TIFF, 8 or 16 bits")
    parser.add_argument("--ttl-s", type=float, help="life of the unused handle (the server's own)")


def run(client: Client, options: argparse.Namespace) -> Result:
    """Raises ApsamError."""
    encoded = client.encode(options.image, ttl_s=options.ttl_s)
    return Result(
        document={
            "image": str(options.image),
            **embedding_document(encoded.info(), encoded.server_address),
        },
        text=f"{encoded.handle}: {encoded.width} x {encoded.height} pixels, "
        f"model {encoded.model_digest[:12]}, held by {encoded.server_address}",
    )
