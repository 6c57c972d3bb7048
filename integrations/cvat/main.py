"""CVAT interactor as a nuclio function. Environment: APSAM_SERVER, HOST:PORT, several with commas.

CVAT sends {"image": base64, "pos_points": [[x, y], ...], "neg_points": [...], "obj_bbox": [[left,
top], [right, bottom]], [] or null} in pixels, and takes {"mask": rows of 0 and 255, "bounds":
[left, top, right, bottom], both ends included}: a mask of what lies inside the bounds. (The `blob`
that CVAT's own SAM function answers with is decoded in the page, by another decoder than ours.)
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.client import Client, RemoteImage
from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.errors import ApsamError, InvalidInputError, InvalidPromptError

_MAX_HELD = 16
"""Frames of which the next click costs no encoding, per worker."""
_INSIDE = 0.5
"""The right and lower edges of the image belong to its last pixels."""


def init_context(context: Any) -> None:
    """Called by nuclio once per worker."""
    servers = os.environ.get("APSAM_SERVER", "127.0.0.1:50051").split(",")
    context.user_data.interactor = Interactor(Client(servers))


def handler(context: Any, event: Any) -> Any:
    """Called by nuclio for each request. CVAT shows people the status alone; the log has the
    message."""
    status, document = 200, {}
    try:
        document = context.user_data.interactor.answer(event.body)
    except ApsamError as error:
        status = 400 if isinstance(error, InvalidInputError) else 503
        document = {"error": {"reason": error.reason, "message": str(error)}}
        context.logger.error(str(error))
    return context.Response(
        body=json.dumps(document), headers={}, content_type="application/json", status_code=status
    )


class Interactor:
    """Answers requests, and remembers the frames that were clicked on last."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._held: OrderedDict[bytes, RemoteImage] = OrderedDict()

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The mask of one object. Raises the package's errors."""
        try:
            data = base64.b64decode(request["image"], validate=True)
            points = request["pos_points"], request["neg_points"], request.get("obj_bbox")
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"request has no {error}; send image in base64, pos_points and neg_points"
            ) from error
        image = self._image(data)
        (found,) = image.segment([prompt_of(*points, height=image.height, width=image.width)])
        return mask_document(found.mask)

    def _image(self, data: bytes) -> RemoteImage:
        key = hashlib.sha256(data).digest()
        if key not in self._held:
            self._held[key] = self._client.encode(data)
        self._held.move_to_end(key)
        if len(self._held) > _MAX_HELD:
            self._held.popitem(last=False)[1].release()
        return self._held[key]


def prompt_of(
    positive: Sequence[Sequence[float]],
    negative: Sequence[Sequence[float]],
    box: Sequence[Sequence[float]] | None,
    *,
    height: int,
    width: int,
) -> Prompt:
    """CVAT's points and corners as a prompt. Raises InvalidPromptError."""
    try:
        points = tuple(
            Point(
                x=min(max(0.0, x), width - _INSIDE),
                y=min(max(0.0, y), height - _INSIDE),
                positive=is_positive,
            )
            for chosen, is_positive in ((positive, True), (negative, False))
            for x, y in chosen
        )
        corners = None
        if box:
            (left, top), (right, bottom) = box
            corners = Box(
                left=max(0.0, left),
                top=max(0.0, top),
                right=min(right, width),
                bottom=min(bottom, height),
            )
    except (TypeError, ValueError) as error:
        raise InvalidPromptError(
            f"points are not pairs of numbers ({error}); send [[x, y], ...] in pixels"
        ) from error
    return Prompt(points=points, box=corners)


def mask_document(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask bool [H, W], cut to its bounds; of an empty one a pixel that is 0, and no points, for
    which the page would look itself and fail."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return {"mask": [[0]], "bounds": [0, 0, 0, 0], "points": []}
    left, right, top, bottom = (int(at) for at in (*columns[[0, -1]], *rows[[0, -1]]))
    inside = mask[top : bottom + 1, left : right + 1].astype(np.uint8) * 255
    return {"mask": inside.tolist(), "bounds": [left, top, right, bottom]}
