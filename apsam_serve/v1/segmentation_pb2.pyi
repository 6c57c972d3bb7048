import datetime

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

class Branch(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BRANCH_UNSPECIFIED: _ClassVar[Branch]
    BRANCH_DIRECT: _ClassVar[Branch]
    BRANCH_CLUSTERS: _ClassVar[Branch]
    BRANCH_FALLBACK: _ClassVar[Branch]
    BRANCH_EMPTY: _ClassVar[Branch]
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
BRANCH_UNSPECIFIED: Branch
BRANCH_DIRECT: Branch
BRANCH_CLUSTERS: Branch
BRANCH_FALLBACK: Branch
BRANCH_EMPTY: Branch

class EncodeRequest(_message.Message):
    __slots__ = ("image",)
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    def __init__(self, image: _Optional[bytes] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("handle", "width", "height", "expire_time", "held_bytes", "model_digest", "timings")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    HELD_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    handle: str
    width: int
    height: int
    expire_time: _timestamp_pb2.Timestamp
    held_bytes: int
    model_digest: str
    timings: StageTimings
    def __init__(self, handle: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., held_bytes: _Optional[int] = ..., model_digest: _Optional[str] = ..., timings: _Optional[_Union[StageTimings, _Mapping]] = ...) -> None: ...

class SegmentRequest(_message.Message):
    __slots__ = ("handle", "image", "prompts", "strategy", "apg", "mask_encoding")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    APG_FIELD_NUMBER: _ClassVar[int]
    MASK_ENCODING_FIELD_NUMBER: _ClassVar[int]
    handle: str
    image: bytes
    prompts: _containers.RepeatedCompositeFieldContainer[Prompt]
    strategy: Strategy
    apg: ApgOptions
    mask_encoding: MaskEncoding
    def __init__(self, handle: _Optional[str] = ..., image: _Optional[bytes] = ..., prompts: _Optional[_Iterable[_Union[Prompt, _Mapping]]] = ..., strategy: _Optional[_Union[Strategy, str]] = ..., apg: _Optional[_Union[ApgOptions, _Mapping]] = ..., mask_encoding: _Optional[_Union[MaskEncoding, str]] = ...) -> None: ...

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

class ReleaseRequest(_message.Message):
    __slots__ = ("handle",)
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    handle: str
    def __init__(self, handle: _Optional[str] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ("released",)
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    released: bool
    def __init__(self, released: bool = ...) -> None: ...

class Prompt(_message.Message):
    __slots__ = ("points", "box")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[Point]
    box: Box
    def __init__(self, points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., box: _Optional[_Union[Box, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("mask", "score", "points", "branch", "category", "category_probability")
    MASK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    mask: Mask
    score: float
    points: _containers.RepeatedCompositeFieldContainer[Point]
    branch: Branch
    category: str
    category_probability: float
    def __init__(self, mask: _Optional[_Union[Mask, _Mapping]] = ..., score: _Optional[float] = ..., points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., branch: _Optional[_Union[Branch, str]] = ..., category: _Optional[str] = ..., category_probability: _Optional[float] = ...) -> None: ...

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
    __slots__ = ("queue_us", "image_us", "encode_us", "decode_1_us", "points_us", "decode_2_us", "mask_us", "serialise_us")
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    IMAGE_US_FIELD_NUMBER: _ClassVar[int]
    ENCODE_US_FIELD_NUMBER: _ClassVar[int]
    DECODE_1_US_FIELD_NUMBER: _ClassVar[int]
    POINTS_US_FIELD_NUMBER: _ClassVar[int]
    DECODE_2_US_FIELD_NUMBER: _ClassVar[int]
    MASK_US_FIELD_NUMBER: _ClassVar[int]
    SERIALISE_US_FIELD_NUMBER: _ClassVar[int]
    queue_us: int
    image_us: int
    encode_us: int
    decode_1_us: int
    points_us: int
    decode_2_us: int
    mask_us: int
    serialise_us: int
    def __init__(self, queue_us: _Optional[int] = ..., image_us: _Optional[int] = ..., encode_us: _Optional[int] = ..., decode_1_us: _Optional[int] = ..., points_us: _Optional[int] = ..., decode_2_us: _Optional[int] = ..., mask_us: _Optional[int] = ..., serialise_us: _Optional[int] = ...) -> None: ...
