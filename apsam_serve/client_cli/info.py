"""What servers run and within which limits: models, builds, palettes, sizes."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from apsam_serve.client import Client, ServerInfo
from apsam_serve.client_cli.result import Result


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's own options: none."""


def run(client: Client, options: argparse.Namespace) -> Result:
    """Raises ApsamError when any of them does not answer."""
    found = {server: client.server_info(server) for server in client.servers}
    return Result(
        document={"servers": {server: asdict(one) for server, one in found.items()}},
        text="\n".join(_text(server, one) for server, one in found.items()),
    )


def _text(server: str, info: ServerInfo) -> str:
    lines = [
        f"{server}: apsam {info.version}, process {info.server_id}",
        *(
            f"  {model.digest[:12]} {model.preset} {model.form} {model.precision}"
            f"{'' if model.verified else ' UNVERIFIED'}{' (current)' if model.current else ''}, "
            f"{len(model.categories)} categories, holds {model.num_embeddings} images"
            for model in info.models
        ),
        f"  at most {info.max_pixels} pixels, {info.max_message_bytes} bytes, "
        f"{info.max_prompts} prompts of {info.max_points} points, {info.max_ttl_s:.0f} s unused",
        f"  palettes: {', '.join(info.palettes)}",
    ]
    return "\n".join(lines)
