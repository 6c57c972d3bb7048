"""Questions as messages."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.engine.proposals import ProposeOptions
from apsam_serve.errors import MaskGoneError
from apsam_serve.service import convert
from apsam_serve.v1 import segmentation_pb2 as pb

FASTEST = pb.MASK_ENCODING_PACKED_BITS_ZLIB
"""What this client asks for unless told otherwise: it unpacks masks anyway, and run lengths take
longer to make and to read."""
_STRATEGIES = {"direct": pb.STRATEGY_DIRECT, "apg": pb.STRATEGY_APG}


def segment_request(
    prompts: Sequence[Prompt],
    strategy: StrategyName,
    apg: ApgConfig | None,
    mask_encoding: pb.MaskEncoding,
) -> pb.SegmentRequest:
    """Without a source. Raises InvalidPromptError."""
    return pb.SegmentRequest(
        prompts=convert.prompts_to(prompts),
        strategy=_STRATEGIES[strategy],
        apg=None if apg is None else convert.apg_to(apg),
        mask_encoding=mask_encoding,
    )


def propose_request(
    options: ProposeOptions | None,
    strategy: StrategyName,
    apg: ApgConfig | None,
    mask_encoding: pb.MaskEncoding,
    *,
    include_attention: bool = False,
) -> pb.ProposeRequest:
    """Without a source. Raises InvalidPromptError."""
    chosen = options or ProposeOptions()
    return pb.ProposeRequest(
        max_proposals=chosen.max_proposals,
        min_score=chosen.min_score,
        max_overlap=chosen.max_overlap,
        strategy=_STRATEGIES[strategy],
        apg=None if apg is None else convert.apg_to(apg),
        mask_encoding=mask_encoding,
        include_attention=include_attention,
    )


def segment_step(request: pb.SegmentRequest) -> pb.SessionRequest:
    """The same question in a session."""
    return pb.SessionRequest(
        segment=pb.SessionSegment(
            prompts=request.prompts,
            strategy=request.strategy,
            apg=request.apg if request.HasField("apg") else None,
            mask_encoding=request.mask_encoding,
        )
    )


def propose_step(request: pb.ProposeRequest) -> pb.SessionRequest:
    """The same question in a session."""
    return pb.SessionRequest(
        propose=pb.SessionPropose(
            max_proposals=request.max_proposals,
            min_score=request.min_score,
            max_overlap=request.max_overlap,
            strategy=request.strategy,
            apg=request.apg if request.HasField("apg") else None,
            mask_encoding=request.mask_encoding,
            include_attention=request.include_attention,
        )
    )


def new_request_id() -> str:
    """A UUID; the same in every attempt of one request, so that its work is done once."""
    return str(uuid.uuid4())


def owned_mask_id(handle: str, mask_id: str) -> str:
    """A server counts an image's masks from 0, so "0" is another mask after the image was encoded
    again: outside this client a mask is named with the handle it belongs to."""
    return f"{handle}/{mask_id}" if handle and mask_id else ""


def refines(request: pb.SegmentRequest | pb.SessionSegment) -> bool:
    """Whether a prompt refines an earlier mask."""
    return any(prompt.mask_id for prompt in request.prompts)


def plain_mask_ids(prompts: Sequence[pb.Prompt], handle: str) -> None:
    """Turn `owned_mask_id`s into the server's. Raises MaskGoneError for those of another image."""
    for prompt in prompts:
        owner, _, mask_id = prompt.mask_id.rpartition("/")
        if prompt.mask_id and owner != handle:
            raise MaskGoneError(
                f"mask {prompt.mask_id!r} is none of image {handle}, which may have been encoded "
                "again since; click again, or send the points without the mask"
            )
        prompt.mask_id = mask_id
