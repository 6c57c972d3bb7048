"""What a call or a session's step does: a message in, the engine's work, a message out.

Everything is checked and counted before the work starts; the ledger learns from the reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import ImageInput
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.engine.calls import Call
from apsam_serve.engine.engine import Engine
from apsam_serve.engine.proposals import ProposeOptions
from apsam_serve.engine.replies import Embedding, PackedSegmentation, ProposeReply, SegmentReply
from apsam_serve.errors import InvalidPromptError
from apsam_serve.service import convert, convert_images
from apsam_serve.service.calls import Work, ledger, sha256
from apsam_serve.v1 import segmentation_pb2 as pb

_MAX_ASKED = 64 * 2**10
"""Bytes, twice what 64 prompts with all their points take: they are hashed on the event loop, and a
message has room for fields of any length."""
Source = str | ImageInput
SegmentMessage = pb.SegmentRequest | pb.SessionSegment
ProposeMessage = pb.ProposeRequest | pb.SessionPropose


@dataclass(frozen=True, kw_only=True)
class _How:
    strategy: StrategyName
    apg: ApgConfig
    encoding: pb.MaskEncoding

    @classmethod
    def of(cls, message: SegmentMessage | ProposeMessage) -> _How:
        return cls(
            strategy=convert.strategy_from(message.strategy),
            apg=convert.apg_from(message.apg),
            encoding=convert.mask_encoding_from(message.mask_encoding),
        )


class Answers:
    """server_address: where this very process answers, "" where it was not told."""

    def __init__(self, engine: Engine, *, server_address: str = "") -> None:
        self.engine = engine
        self._server_address = server_address

    def create(
        self, image: ImageInput, call: Call, ttl_s: float | None
    ) -> Work[pb.CreateEmbeddingResponse]:
        """Encodes an image and holds it."""

        async def work() -> pb.CreateEmbeddingResponse:
            reply = await self.engine.create(image, call, ttl_s=ttl_s)
            ledger().timings_s = reply.timings_s
            return pb.CreateEmbeddingResponse(
                embedding=self.embedding(reply.embedding),
                timings=convert.timings_to(reply.timings_s),
            )

        return work

    def segment(
        self, source: Source, message: SegmentMessage, call: Call
    ) -> Work[pb.SegmentResponse]:
        """Answers prompts. Raises InvalidPromptError at once for what no image could fit."""
        prompts, how = convert.prompts_from(message.prompts), _How.of(message)
        _note_segment(source, message)

        async def work() -> pb.SegmentResponse:
            reply = await self.engine.segment(
                source,
                prompts,
                call,
                strategy=how.strategy,
                apg=how.apg,
                pack=convert.PACKERS[how.encoding],
                slow=how.encoding in convert.SLOW,
            )
            _learn(reply, reply.segmentations)
            return pb.SegmentResponse(
                segmentations=[
                    _segmentation_to(one, how.encoding, reply) for one in reply.segmentations
                ],
                timings=convert.timings_to(reply.timings_s),
                model_digest=reply.model_digest,
                width=reply.width,
                height=reply.height,
                expire_time=None if reply.expires_s is None else convert.time_to(reply.expires_s),
            )

        return work

    def propose(
        self, source: Source, message: ProposeMessage, call: Call
    ) -> Work[pb.ProposeResponse]:
        """Finds objects. Raises InvalidInputError at once for options out of range."""
        options, how = _options_from(message), _How.of(message)
        _note_propose(source, message)

        async def work() -> pb.ProposeResponse:
            reply = await self.engine.propose(
                source,
                call,
                options=options,
                strategy=how.strategy,
                apg=how.apg,
                pack=convert.PACKERS[how.encoding],
                include_attention=message.include_attention,
            )
            found = reply.attention
            _learn(reply, [one.segmentation for one in reply.proposals])
            return pb.ProposeResponse(
                proposals=[
                    pb.Proposal(
                        click=convert.points_to([one.click])[0],
                        attention=one.attention,
                        segmentation=_segmentation_to(one.segmentation, how.encoding, reply),
                    )
                    for one in reply.proposals
                ],
                attention=None if found is None else convert.attention_to(found),
                timings=convert.timings_to(reply.timings_s),
                model_digest=reply.model_digest,
                width=reply.width,
                height=reply.height,
                expire_time=None if reply.expires_s is None else convert.time_to(reply.expires_s),
            )

        return work

    def embedding(self, held: Embedding) -> pb.Embedding:
        """A held image as a message, and in the ledger."""
        opened = ledger()
        opened.handle = held.handle
        opened.image_digest, opened.model_digest = held.image_digest, held.model_digest
        return convert_images.embedding_to(
            held, server_id=self.engine.server_id, server_address=self._server_address
        )


def _options_from(message: ProposeMessage) -> ProposeOptions:
    default = ProposeOptions()
    return ProposeOptions(
        max_proposals=message.max_proposals or default.max_proposals,
        min_score=message.min_score if message.HasField("min_score") else default.min_score,
        max_overlap=message.max_overlap if message.HasField("max_overlap") else default.max_overlap,
    )


def _segmentation_to(
    one: PackedSegmentation, encoding: pb.MaskEncoding, reply: SegmentReply | ProposeReply
) -> pb.Segmentation:
    mask = convert.mask_to(
        one.data, encoding, height=reply.height, width=reply.width, crc32=one.crc32
    )
    return pb.Segmentation(
        mask=mask,
        score=one.score,
        points=convert.points_to(one.points),
        branch=convert.BRANCHES[one.branch],
        category=one.category or "",
        category_probability=one.category_probability,
        mask_id=one.mask_id,
    )


def _note_segment(source: Source, message: SegmentMessage) -> None:
    """What was asked, in the same form from a call and from a session."""
    asked = pb.SessionSegment(
        prompts=message.prompts,
        strategy=message.strategy,
        apg=message.apg if message.HasField("apg") else None,
        mask_encoding=message.mask_encoding,
    )
    _note(source, asked)


def _note_propose(source: Source, message: ProposeMessage) -> None:
    asked = pb.SessionPropose(
        max_proposals=message.max_proposals,
        min_score=message.min_score if message.HasField("min_score") else None,
        max_overlap=message.max_overlap if message.HasField("max_overlap") else None,
        strategy=message.strategy,
        apg=message.apg if message.HasField("apg") else None,
        mask_encoding=message.mask_encoding,
        include_attention=message.include_attention,
    )
    _note(source, asked)


def _note(source: Source, asked: pb.SessionSegment | pb.SessionPropose) -> None:
    if (num_bytes := asked.ByteSize()) > _MAX_ASKED:
        raise InvalidPromptError(
            f"prompts and settings take {num_bytes} bytes; give at most {_MAX_ASKED}"
        )
    opened = ledger()
    opened.handle = source if isinstance(source, str) else ""
    opened.prompt_digest = sha256(asked.SerializeToString(deterministic=True))


def _learn(reply: SegmentReply | ProposeReply, segmentations: Sequence[PackedSegmentation]) -> None:
    opened = ledger()
    opened.timings_s = reply.timings_s
    opened.image_digest, opened.model_digest = reply.image_digest, reply.model_digest
    opened.mask_digests = tuple(one.sha256 for one in segmentations)
