"""Run in an environment with CVAT's own client and nuclio's SDK: what both make of the interactors.

`python cvat_session.py SERVER IMAGE X Y` prints one JSON document.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import nuclio_sdk
import PIL.Image
from cvat_cli._internal.agent import get_function_driver_class
from cvat_cli._internal.agent_driver_interaction import (
    _InteractionFunctionContextImpl,
    _InteractionPromptsImpl,
)
from cvat_cli._internal.common import FunctionLoader
from cvat_sdk.masks import decode_mask

from integrations.cvat import main as nuclio_function


def asked_by_agent(server: str, image: Path, click: tuple[float, float]) -> Any:
    """Loaded, described and called as `cvat-cli function` does."""
    loader = FunctionLoader("integrations.cvat.agent", None, {"server": server})
    function: Any = loader.load()
    driver = get_function_driver_class(function.spec)
    context = _InteractionFunctionContextImpl()
    prompts = _InteractionPromptsImpl(pos_points=(click,), neg_points=(), bounding_box=None)
    with PIL.Image.open(image) as opened:
        held = function.preprocess_image(context, opened)
    (shape,) = function.detect(context, held, prompts)
    mask = decode_mask(shape.points, image_width=held.width, image_height=held.height)
    return {
        "kind": driver.FUNCTION_KIND,
        "fields": driver.get_remote_function_fields(function.spec),
        "confidence": float(shape.attributes[0].value),
        "mask": mask.astype(int).tolist(),
    }


def asked_by_nuclio(server: str, image: Path, click: tuple[float, float]) -> Any:
    """Called with nuclio's own context and event."""
    os.environ["APSAM_SERVER"] = server
    context = nuclio_sdk.Context(logger=logging.getLogger("nuclio"))
    nuclio_function.init_context(context)
    body = {"image": base64.b64encode(image.read_bytes()).decode(), "obj_bbox": []}
    event = nuclio_sdk.Event(body=body | {"pos_points": [click], "neg_points": []})
    reply = nuclio_function.handler(context, event)
    return {"status": reply.status_code, **json.loads(reply.body)}


def main() -> None:
    server, image, x, y = sys.argv[1:]
    given = server, Path(image), (float(x), float(y))
    print(json.dumps({"agent": asked_by_agent(*given), "nuclio": asked_by_nuclio(*given)}))


if __name__ == "__main__":
    main()
