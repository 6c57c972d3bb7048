"""Fields longer than anybody needs: they are refused before they cost the event loop its time."""

from __future__ import annotations

from typing import Any

import pytest

from apsam_serve.contract.prompts import MAX_POINTS, MAX_PROMPTS
from apsam_serve.errors import InvalidInputError, InvalidPromptError
from apsam_serve.service.convert import request_id_from
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.service.asking import CLICK, handle, new_id, refused

LONG = "x" * 2**20
UNKNOWN = b"\xfa\x07\x80\x80\x40" + LONG.encode()
"""Field 127, of 2**20 bytes, which this release does not know."""
LARGEST = pb.Prompt(
    points=[pb.Point(x=20.5, y=20.5, label=pb.POINT_LABEL_POSITIVE)] * MAX_POINTS,
    box=pb.Box(left=1.5, top=1.5, right=40.5, bottom=40.5),
)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompts": [pb.Prompt(points=CLICK.points, mask_id=LONG)]},
        {"prompts": [pb.Prompt.FromString(CLICK.SerializeToString() + UNKNOWN)]},
        {"prompts": [CLICK], "apg": pb.ApgOptions.FromString(UNKNOWN)},
    ],
    ids=["mask id", "unknown field of a prompt", "unknown field of the settings"],
)
def test_prompts_and_settings_that_take_a_megabyte_are_refused(
    stub: Any, bag_png: bytes, fields: dict[str, Any]
) -> None:
    asked = pb.SegmentRequest(handle=handle(stub, bag_png), **fields)
    error = refused(stub.Segment, asked)
    assert isinstance(error, InvalidPromptError)
    assert "give at most 65536" in str(error)


def test_the_largest_call_that_the_limits_allow_is_answered(stub: Any, bag_png: bytes) -> None:
    asked = pb.SegmentRequest(
        handle=handle(stub, bag_png),
        prompts=[LARGEST] * MAX_PROMPTS,
        strategy=pb.STRATEGY_DIRECT,
        request_id=new_id(),
    )
    assert len(stub.Segment(asked, timeout=10).segmentations) == MAX_PROMPTS


def test_a_uuid_in_a_megabyte_of_braces_is_no_request_id() -> None:
    written = "{" * 2**20 + new_id()
    with pytest.raises(InvalidInputError, match=r"request_id '\{{64}' is no UUID"):
        request_id_from(written)
    assert request_id_from("{6F7FF4A4-54a5-4ec3-8a52-0f9a6c1f3a1e}")[:8] == "6f7ff4a4"
