import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Strategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STRATEGY_UNSPECIFIED: _ClassVar[Strategy]
    STRATEGY_DIRECT: _ClassVar[Strategy]
    STRATEGY_APG: _ClassVar[Strategy]

class PointLabel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POINT_LABEL_UNSPECIFIED: _ClassVar[PointLabel]
    POINT_LABEL_POSITIVE: _ClassVar[PointLabel]
    POINT_LABEL_NEGATIVE: _ClassVar[PointLabel]

class ApgFallback(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    APG_FALLBACK_UNSPECIFIED: _ClassVar[ApgFallback]
    APG_FALLBACK_FOREGROUND: _ClassVar[ApgFallback]
    APG_FALLBACK_BOX: _ClassVar[ApgFallback]

class MaskEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MASK_ENCODING_UNSPECIFIED: _ClassVar[MaskEncoding]
    MASK_ENCODING_COCO_RLE: _ClassVar[MaskEncoding]
    MASK_ENCODING_PACKED_BITS_ZLIB: _ClassVar[MaskEncoding]
    MASK_ENCODING_PNG: _ClassVar[MaskEncoding]
    MASK_ENCODING_POLYGON: _ClassVar[MaskEncoding]

class Branch(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BRANCH_UNSPECIFIED: _ClassVar[Branch]
    BRANCH_DIRECT: _ClassVar[Branch]
    BRANCH_CLUSTERS: _ClassVar[Branch]
    BRANCH_FALLBACK: _ClassVar[Branch]
    BRANCH_EMPTY: _ClassVar[Branch]

class DetectorAxis(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DETECTOR_AXIS_UNSPECIFIED: _ClassVar[DetectorAxis]
    DETECTOR_AXIS_ROWS: _ClassVar[DetectorAxis]
    DETECTOR_AXIS_COLUMNS: _ClassVar[DetectorAxis]
STRATEGY_UNSPECIFIED: Strategy
STRATEGY_DIRECT: Strategy
STRATEGY_APG: Strategy
POINT_LABEL_UNSPECIFIED: PointLabel
POINT_LABEL_POSITIVE: PointLabel
POINT_LABEL_NEGATIVE: PointLabel
APG_FALLBACK_UNSPECIFIED: ApgFallback
APG_FALLBACK_FOREGROUND: ApgFallback
APG_FALLBACK_BOX: ApgFallback
MASK_ENCODING_UNSPECIFIED: MaskEncoding
MASK_ENCODING_COCO_RLE: MaskEncoding
MASK_ENCODING_PACKED_BITS_ZLIB: MaskEncoding
MASK_ENCODING_PNG: MaskEncoding
MASK_ENCODING_POLYGON: MaskEncoding
BRANCH_UNSPECIFIED: Branch
BRANCH_DIRECT: Branch
BRANCH_CLUSTERS: Branch
BRANCH_FALLBACK: Branch
BRANCH_EMPTY: Branch
DETECTOR_AXIS_UNSPECIFIED: DetectorAxis
DETECTOR_AXIS_ROWS: DetectorAxis
DETECTOR_AXIS_COLUMNS: DetectorAxis

class Image(_message.Message):
    __slots__ = ("file", "raw_rgb", "dual_energy")
    FILE_FIELD_NUMBER: _ClassVar[int]
    RAW_RGB_FIELD_NUMBER: _ClassVar[int]
    DUAL_ENERGY_FIELD_NUMBER: _ClassVar[int]
    file: bytes
    raw_rgb: RawRgb
    dual_energy: DualEnergy
    def __init__(self, file: _Optional[bytes] = ..., raw_rgb: _Optional[_Union[RawRgb, _Mapping]] = ..., dual_energy: _Optional[_Union[DualEnergy, _Mapping]] = ...) -> None: ...

class RawRgb(_message.Message):
    __slots__ = ("width", "height", "data")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    data: bytes
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class DualEnergy(_message.Message):
    __slots__ = ("width", "height", "high", "low", "high_calibration", "low_calibration", "detector_axis", "palette")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    LOW_CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_AXIS_FIELD_NUMBER: _ClassVar[int]
    PALETTE_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    high: bytes
    low: bytes
    high_calibration: Calibration
    low_calibration: Calibration
    detector_axis: DetectorAxis
    palette: str
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., high: _Optional[bytes] = ..., low: _Optional[bytes] = ..., high_calibration: _Optional[_Union[Calibration, _Mapping]] = ..., low_calibration: _Optional[_Union[Calibration, _Mapping]] = ..., detector_axis: _Optional[_Union[DetectorAxis, str]] = ..., palette: _Optional[str] = ...) -> None: ...

class Calibration(_message.Message):
    __slots__ = ("dark", "air")
    DARK_FIELD_NUMBER: _ClassVar[int]
    AIR_FIELD_NUMBER: _ClassVar[int]
    dark: _containers.RepeatedScalarFieldContainer[int]
    air: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, dark: _Optional[_Iterable[int]] = ..., air: _Optional[_Iterable[int]] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("handle", "width", "height", "create_time", "expire_time", "ttl", "held_bytes", "owner", "server_address", "server_id", "model_digest", "image_digest")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    HELD_BYTES_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SERVER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    IMAGE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    handle: str
    width: int
    height: int
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    ttl: _duration_pb2.Duration
    held_bytes: int
    owner: str
    server_address: str
    server_id: str
    model_digest: str
    image_digest: str
    def __init__(self, handle: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., held_bytes: _Optional[int] = ..., owner: _Optional[str] = ..., server_address: _Optional[str] = ..., server_id: _Optional[str] = ..., model_digest: _Optional[str] = ..., image_digest: _Optional[str] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "server_id", "server_address", "models", "palettes", "max_pixels", "max_message_bytes", "max_prompts", "max_points", "max_ttl", "masks_per_image")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    PALETTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PIXELS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    MAX_POINTS_FIELD_NUMBER: _ClassVar[int]
    MAX_TTL_FIELD_NUMBER: _ClassVar[int]
    MASKS_PER_IMAGE_FIELD_NUMBER: _ClassVar[int]
    version: str
    server_id: str
    server_address: str
    models: _containers.RepeatedCompositeFieldContainer[Model]
    palettes: _containers.RepeatedScalarFieldContainer[str]
    max_pixels: int
    max_message_bytes: int
    max_prompts: int
    max_points: int
    max_ttl: _duration_pb2.Duration
    masks_per_image: int
    def __init__(self, version: _Optional[str] = ..., server_id: _Optional[str] = ..., server_address: _Optional[str] = ..., models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., palettes: _Optional[_Iterable[str]] = ..., max_pixels: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., max_prompts: _Optional[int] = ..., max_points: _Optional[int] = ..., max_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., masks_per_image: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("digest", "preset", "form", "precision", "verified", "categories", "current", "num_embeddings")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    NUM_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    digest: str
    preset: str
    form: str
    precision: str
    verified: bool
    categories: _containers.RepeatedScalarFieldContainer[str]
    current: bool
    num_embeddings: int
    def __init__(self, digest: _Optional[str] = ..., preset: _Optional[str] = ..., form: _Optional[str] = ..., precision: _Optional[str] = ..., verified: bool = ..., categories: _Optional[_Iterable[str]] = ..., current: bool = ..., num_embeddings: _Optional[int] = ...) -> None: ...

class CreateEmbeddingRequest(_message.Message):
    __slots__ = ("image", "ttl", "request_id")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    image: Image
    ttl: _duration_pb2.Duration
    request_id: str
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateEmbeddingResponse(_message.Message):
    __slots__ = ("embedding", "timings")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    embedding: Embedding
    timings: StageTimings
    def __init__(self, embedding: _Optional[_Union[Embedding, _Mapping]] = ..., timings: _Optional[_Union[StageTimings, _Mapping]] = ...) -> None: ...

class GetEmbeddingRequest(_message.Message):
    __slots__ = ("handle",)
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    handle: str
    def __init__(self, handle: _Optional[str] = ...) -> None: ...

class GetEmbeddingResponse(_message.Message):
    __slots__ = ("embedding",)
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    embedding: Embedding
    def __init__(self, embedding: _Optional[_Union[Embedding, _Mapping]] = ...) -> None: ...

class RenewEmbeddingRequest(_message.Message):
    __slots__ = ("handle", "ttl")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    handle: str
    ttl: _duration_pb2.Duration
    def __init__(self, handle: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RenewEmbeddingResponse(_message.Message):
    __slots__ = ("embedding",)
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    embedding: Embedding
    def __init__(self, embedding: _Optional[_Union[Embedding, _Mapping]] = ...) -> None: ...

class DeleteEmbeddingRequest(_message.Message):
    __slots__ = ("handle",)
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    handle: str
    def __init__(self, handle: _Optional[str] = ...) -> None: ...

class DeleteEmbeddingResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: bool
    def __init__(self, deleted: bool = ...) -> None: ...

class SegmentRequest(_message.Message):
    __slots__ = ("handle", "image", "prompts", "strategy", "apg", "mask_encoding", "request_id")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    APG_FIELD_NUMBER: _ClassVar[int]
    MASK_ENCODING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    handle: str
    image: Image
    prompts: _containers.RepeatedCompositeFieldContainer[Prompt]
    strategy: Strategy
    apg: ApgOptions
    mask_encoding: MaskEncoding
    request_id: str
    def __init__(self, handle: _Optional[str] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., prompts: _Optional[_Iterable[_Union[Prompt, _Mapping]]] = ..., strategy: _Optional[_Union[Strategy, str]] = ..., apg: _Optional[_Union[ApgOptions, _Mapping]] = ..., mask_encoding: _Optional[_Union[MaskEncoding, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class SegmentResponse(_message.Message):
    __slots__ = ("segmentations", "timings", "model_digest", "width", "height", "expire_time")
    SEGMENTATIONS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    segmentations: _containers.RepeatedCompositeFieldContainer[Segmentation]
    timings: StageTimings
    model_digest: str
    width: int
    height: int
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, segmentations: _Optional[_Iterable[_Union[Segmentation, _Mapping]]] = ..., timings: _Optional[_Union[StageTimings, _Mapping]] = ..., model_digest: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ProposeRequest(_message.Message):
    __slots__ = ("handle", "image", "max_proposals", "min_score", "max_overlap", "strategy", "apg", "mask_encoding", "request_id", "include_attention")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MAX_PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    MAX_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    APG_FIELD_NUMBER: _ClassVar[int]
    MASK_ENCODING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTENTION_FIELD_NUMBER: _ClassVar[int]
    handle: str
    image: Image
    max_proposals: int
    min_score: float
    max_overlap: float
    strategy: Strategy
    apg: ApgOptions
    mask_encoding: MaskEncoding
    request_id: str
    include_attention: bool
    def __init__(self, handle: _Optional[str] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., max_proposals: _Optional[int] = ..., min_score: _Optional[float] = ..., max_overlap: _Optional[float] = ..., strategy: _Optional[_Union[Strategy, str]] = ..., apg: _Optional[_Union[ApgOptions, _Mapping]] = ..., mask_encoding: _Optional[_Union[MaskEncoding, str]] = ..., request_id: _Optional[str] = ..., include_attention: bool = ...) -> None: ...

class ProposeResponse(_message.Message):
    __slots__ = ("proposals", "timings", "model_digest", "width", "height", "expire_time", "attention")
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    proposals: _containers.RepeatedCompositeFieldContainer[Proposal]
    timings: StageTimings
    model_digest: str
    width: int
    height: int
    expire_time: _timestamp_pb2.Timestamp
    attention: AttentionMap
    def __init__(self, proposals: _Optional[_Iterable[_Union[Proposal, _Mapping]]] = ..., timings: _Optional[_Union[StageTimings, _Mapping]] = ..., model_digest: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attention: _Optional[_Union[AttentionMap, _Mapping]] = ...) -> None: ...

class AttentionMap(_message.Message):
    __slots__ = ("height", "width", "data", "cell_height", "cell_width")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CELL_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CELL_WIDTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    data: bytes
    cell_height: float
    cell_width: float
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., data: _Optional[bytes] = ..., cell_height: _Optional[float] = ..., cell_width: _Optional[float] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("click", "attention", "segmentation")
    CLICK_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_FIELD_NUMBER: _ClassVar[int]
    click: Point
    attention: float
    segmentation: Segmentation
    def __init__(self, click: _Optional[_Union[Point, _Mapping]] = ..., attention: _Optional[float] = ..., segmentation: _Optional[_Union[Segmentation, _Mapping]] = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("image", "segment", "propose", "timeout")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    PROPOSE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    image: Image
    segment: SessionSegment
    propose: SessionPropose
    timeout: _duration_pb2.Duration
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., segment: _Optional[_Union[SessionSegment, _Mapping]] = ..., propose: _Optional[_Union[SessionPropose, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SessionSegment(_message.Message):
    __slots__ = ("prompts", "strategy", "apg", "mask_encoding")
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    APG_FIELD_NUMBER: _ClassVar[int]
    MASK_ENCODING_FIELD_NUMBER: _ClassVar[int]
    prompts: _containers.RepeatedCompositeFieldContainer[Prompt]
    strategy: Strategy
    apg: ApgOptions
    mask_encoding: MaskEncoding
    def __init__(self, prompts: _Optional[_Iterable[_Union[Prompt, _Mapping]]] = ..., strategy: _Optional[_Union[Strategy, str]] = ..., apg: _Optional[_Union[ApgOptions, _Mapping]] = ..., mask_encoding: _Optional[_Union[MaskEncoding, str]] = ...) -> None: ...

class SessionPropose(_message.Message):
    __slots__ = ("max_proposals", "min_score", "max_overlap", "strategy", "apg", "mask_encoding", "include_attention")
    MAX_PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    MAX_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    APG_FIELD_NUMBER: _ClassVar[int]
    MASK_ENCODING_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTENTION_FIELD_NUMBER: _ClassVar[int]
    max_proposals: int
    min_score: float
    max_overlap: float
    strategy: Strategy
    apg: ApgOptions
    mask_encoding: MaskEncoding
    include_attention: bool
    def __init__(self, max_proposals: _Optional[int] = ..., min_score: _Optional[float] = ..., max_overlap: _Optional[float] = ..., strategy: _Optional[_Union[Strategy, str]] = ..., apg: _Optional[_Union[ApgOptions, _Mapping]] = ..., mask_encoding: _Optional[_Union[MaskEncoding, str]] = ..., include_attention: bool = ...) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("step", "embedding", "segmentations", "proposals", "fault")
    STEP_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATIONS_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    step: int
    embedding: CreateEmbeddingResponse
    segmentations: SegmentResponse
    proposals: ProposeResponse
    fault: Fault
    def __init__(self, step: _Optional[int] = ..., embedding: _Optional[_Union[CreateEmbeddingResponse, _Mapping]] = ..., segmentations: _Optional[_Union[SegmentResponse, _Mapping]] = ..., proposals: _Optional[_Union[ProposeResponse, _Mapping]] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("code", "reason", "message", "retry_after")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    retry_after: _duration_pb2.Duration
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Prompt(_message.Message):
    __slots__ = ("points", "box", "mask_id")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    MASK_ID_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[Point]
    box: Box
    mask_id: str
    def __init__(self, points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., mask_id: _Optional[str] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("x", "y", "label")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    label: PointLabel
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., label: _Optional[_Union[PointLabel, str]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("left", "top", "right", "bottom")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    left: float
    top: float
    right: float
    bottom: float
    def __init__(self, left: _Optional[float] = ..., top: _Optional[float] = ..., right: _Optional[float] = ..., bottom: _Optional[float] = ...) -> None: ...

class ApgOptions(_message.Message):
    __slots__ = ("tau", "fallback", "seed", "augment")
    TAU_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_FIELD_NUMBER: _ClassVar[int]
    tau: float
    fallback: ApgFallback
    seed: int
    augment: bool
    def __init__(self, tau: _Optional[float] = ..., fallback: _Optional[_Union[ApgFallback, str]] = ..., seed: _Optional[int] = ..., augment: bool = ...) -> None: ...

class Segmentation(_message.Message):
    __slots__ = ("mask", "score", "points", "branch", "category", "category_probability", "mask_id")
    MASK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    MASK_ID_FIELD_NUMBER: _ClassVar[int]
    mask: Mask
    score: float
    points: _containers.RepeatedCompositeFieldContainer[Point]
    branch: Branch
    category: str
    category_probability: float
    mask_id: str
    def __init__(self, mask: _Optional[_Union[Mask, _Mapping]] = ..., score: _Optional[float] = ..., points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., branch: _Optional[_Union[Branch, str]] = ..., category: _Optional[str] = ..., category_probability: _Optional[float] = ..., mask_id: _Optional[str] = ...) -> None: ...

class Mask(_message.Message):
    __slots__ = ("encoding", "height", "width", "data", "crc32")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    encoding: MaskEncoding
    height: int
    width: int
    data: bytes
    crc32: int
    def __init__(self, encoding: _Optional[_Union[MaskEncoding, str]] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32: _Optional[int] = ...) -> None: ...

class StageTimings(_message.Message):
    __slots__ = ("queue_us", "image_us", "encode_us", "decode_1_us", "points_us", "decode_2_us", "mask_us", "serialise_us", "transfer_us", "energy_us")
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    IMAGE_US_FIELD_NUMBER: _ClassVar[int]
    ENCODE_US_FIELD_NUMBER: _ClassVar[int]
    DECODE_1_US_FIELD_NUMBER: _ClassVar[int]
    POINTS_US_FIELD_NUMBER: _ClassVar[int]
    DECODE_2_US_FIELD_NUMBER: _ClassVar[int]
    MASK_US_FIELD_NUMBER: _ClassVar[int]
    SERIALISE_US_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_US_FIELD_NUMBER: _ClassVar[int]
    ENERGY_US_FIELD_NUMBER: _ClassVar[int]
    queue_us: int
    image_us: int
    encode_us: int
    decode_1_us: int
    points_us: int
    decode_2_us: int
    mask_us: int
    serialise_us: int
    transfer_us: int
    energy_us: int
    def __init__(self, queue_us: _Optional[int] = ..., image_us: _Optional[int] = ..., encode_us: _Optional[int] = ..., decode_1_us: _Optional[int] = ..., points_us: _Optional[int] = ..., decode_2_us: _Optional[int] = ..., mask_us: _Optional[int] = ..., serialise_us: _Optional[int] = ..., transfer_us: _Optional[int] = ..., energy_us: _Optional[int] = ...) -> None: ...
