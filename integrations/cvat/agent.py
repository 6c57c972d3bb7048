"""CVAT interactor for CVAT's agents (`cvat-cli function`), which need neither nuclio nor Docker: an
agent runs beside the APSAM server and fetches its work from CVAT."""

from __future__ import annotations

from typing import Any

import cvat_sdk.auto_annotation as cvataa
import numpy as np
from cvat_sdk.masks import encode_mask
from cvat_sdk.models import AttributeValRequest

from apsam_serve.client import Client, RemoteImage
from integrations.cvat.main import prompt_of


class Interactor:
    """Implements `cvataa.InteractionFunction`; the agent keeps what `preprocess_image` returns."""

    spec = cvataa.InteractionFunctionSpec(min_pos_points=0, min_neg_points=0, min_bounding_boxes=0)

    def __init__(self, server: str) -> None:
        self._client = Client(server.split(","))

    def preprocess_image(self, context: Any, image: Any) -> RemoteImage:
        """image: a PIL image."""
        return self._client.encode(np.asarray(image.convert("RGB")))

    def detect(self, context: Any, pp_image: RemoteImage, prompts: Any) -> list[Any]:
        """The mask of one object; nothing where the model sees none."""
        prompt = prompt_of(
            prompts.pos_points,
            prompts.neg_points,
            prompts.bounding_box,
            height=pp_image.height,
            width=pp_image.width,
        )
        (found,) = pp_image.segment([prompt])
        if not found.mask.any():
            return []
        confidence = AttributeValRequest(
            spec_id=int(cvataa.InteractionResultAttributes.CONFIDENCE), value=f"{found.score:.4f}"
        )
        return [
            cvataa.InteractionResultShape(
                type="mask", points=encode_mask(found.mask), attributes=[confidence]
            )
        ]


def create(server: str = "127.0.0.1:50051") -> Interactor:
    """Called by cvat-cli. server: HOST:PORT, several with commas."""
    return Interactor(server)
