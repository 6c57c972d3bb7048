"""The gate's arithmetic, over doubles: what it compares, what it excuses, what it never does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_export.errors import ParityError
from apsam_export.gate.parity import check, compare
from apsam_export.gate.record import compare_record, read_record, write_record
from apsam_export.gate.reference import Reference
from apsam_export.gate.report import Report
from apsam_export.gate.samples import KINDS, digest, sample
from apsam_export.gate.thresholds import THRESHOLDS, Thresholds
from apsam_serve.contract.manifest import Build, ModelSpec
from apsam_serve.runtime.base import DecodedBatch, EncodedBatch
from apsam_serve.runtime.fake import FakeRunner

SPEC = ModelSpec(preset="tiny", side=64, embed_dim=8, categories=("Gun", "Bullet"))
LIMITS = replace(THRESHOLDS["fp32"], tie=1e-3)


@dataclass
class Altered:
    """A runner that answers like the double, but for what is changed here."""

    encoded: Callable[[EncodedBatch], EncodedBatch] = lambda batch: batch
    decoded: Callable[[DecodedBatch], DecodedBatch] = lambda batch: batch
    model: ModelSpec = SPEC

    def __post_init__(self) -> None:
        self.inner = FakeRunner(self.model)
        self.build: Build = self.inner.build

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to free."""

    def encode(self, images: NDArray[np.uint8]) -> EncodedBatch:
        return self.encoded(self.inner.encode(images))

    def decode(self, **inputs: Any) -> DecodedBatch:
        return self.decoded(self.inner.decode(**inputs))


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.of_runner(FakeRunner(SPEC))


def held(reference: Reference, *, limits: Thresholds = LIMITS, **changes: Any) -> Report:
    return compare(reference, Altered(**changes), limits)


def test_samples_are_the_same_every_time_and_have_every_kind() -> None:
    samples = [sample(number, side=64) for number in range(6)]
    assert digest(samples) == digest([sample(number, side=64) for number in range(6)])
    assert digest(samples) != digest(samples[1:])
    for one in samples:
        assert tuple(prompt.kind for prompt in one.prompts) == KINDS
    assert {one.image.shape[:2] for one in samples} == {(64, 64), (48, 64), (64, 42)}


def test_equal_builds_agree_in_everything(reference: Reference) -> None:
    report = held(reference)
    check(report)
    assert {name: tensor.max for name, tensor in report.tensors.items()} == dict.fromkeys(
        ("embedding", "energy_query", "attention", "low_res_logits", "iou", "category_logits"), 0.0
    )
    assert report.mask_iou.num_prompts == 6 * len(KINDS)
    assert set(report.masks) == set(KINDS)
    assert (report.mask_iou.min, report.same_points, report.flips) == (1, 1, 0)
    assert report.gate().passed
    assert "mask IoU min 1.0000" in report.gate().detail
    assert report.gate().thresholds["max_difference"] == LIMITS.max_difference
    assert Report.of_json(report.to_json()) == replace(report, worst=())


@pytest.mark.parametrize("tensor", ["embedding", "energy_query", "attention"])
def test_a_wrong_tensor_of_an_encoder_is_named(reference: Reference, tensor: str) -> None:
    def off(batch: EncodedBatch) -> EncodedBatch:
        return replace(batch, **{tensor: getattr(batch, tensor) * np.float32(1.01)})

    with pytest.raises(
        ParityError, match=rf"onnx fp32 build on .*: {tensor} differs .* 1.00e-02 \(max\) .* 1e-03"
    ):
        check(held(reference, encoded=off))


@pytest.mark.parametrize("tensor", ["logits", "iou", "category_logits"])
def test_not_a_number_never_passes(reference: Reference, tensor: str) -> None:
    def broken(batch: DecodedBatch) -> DecodedBatch:
        return replace(batch, **{tensor: getattr(batch, tensor) * np.float32("nan")})

    with pytest.raises(ParityError, match=r"differs from the FP32 build by nan"):
        check(held(reference, decoded=broken))


def test_a_missing_number_in_a_query_of_other_places_does_not_pass_either(
    reference: Reference,
) -> None:
    def broken(batch: EncodedBatch) -> EncodedBatch:
        query = np.full_like(batch.energy_query, np.nan)
        return replace(batch, energy_query=query, attention=batch.attention[:, ::-1])

    report = held(reference, encoded=broken)
    assert np.isnan(report.tensors["energy_query"].max)


def test_an_image_index_that_is_not_obeyed_is_caught(reference: Reference) -> None:
    runner = Altered()
    obedient = runner.inner.decode
    runner.inner.decode = lambda **inputs: obedient(
        **inputs | {"image_index": np.zeros_like(inputs["image_index"])}
    )
    with pytest.raises(ParityError, match="low_res_logits differs"):
        check(compare(reference, runner, LIMITS))


def grown(batch: DecodedBatch) -> DecodedBatch:
    """Masks a cell larger, tensors hardly changed in proportion to their largest value."""
    return replace(batch, logits=batch.logits + np.float32(4))


def test_masks_are_judged_even_where_tensors_would_pass(reference: Reference) -> None:
    limits = replace(LIMITS, max_difference=1, mean_difference=1, same_points=0)
    report = held(reference, limits=limits, decoded=grown)
    assert report.masks["small"].min < 0.9
    assert report.worst[0].mask_iou == report.mask_iou.min
    with pytest.raises(ParityError, match=r"worst mask's IoU .* is 0\.\d+, at least 0.99"):
        check(report)


def scored(*scores: float) -> Callable[[DecodedBatch], DecodedBatch]:
    """The four masks with these predicted IoU; the decoder's own masks differ from each other."""
    row = np.array(scores, np.float32)
    return lambda batch: replace(batch, iou=np.tile(row, (len(batch.iou), 1)))


@pytest.mark.parametrize(
    ("wanted", "built", "clear", "passed"),
    [
        ((0.1, 0.2, 0.9, 0.8999), (0.1, 0.2, 0.8999, 0.9), 0.0, True),
        ((0.1, 0.2, 0.9, 0.89), (0.1, 0.2, 0.89, 0.9), 1.0, False),
    ],
)
def test_a_tie_may_flip_and_a_clear_choice_may_not(
    wanted: tuple[float, ...], built: tuple[float, ...], clear: float, passed: bool
) -> None:
    """The mask of the reference's token is held to it either way."""
    reference = Reference.of_runner(Altered(decoded=scored(*wanted)))
    limits = replace(LIMITS, max_difference=0.1, mean_difference=0.1)
    report = held(reference, limits=limits, decoded=scored(*built))
    assert report.flips == 1
    assert report.clear_flips == clear
    assert report.mask_iou.min == 1
    assert report.answer_iou.mean < 1
    assert report.passed is passed
    if not passed:
        assert "100.0% of 48 clear choices" in report.gate().detail


def test_a_category_read_from_another_token_in_a_tie_is_not_compared(tmp_path: Path) -> None:
    def told(scores: tuple[float, ...], logit: float) -> Callable[[DecodedBatch], DecodedBatch]:
        def answer(batch: DecodedBatch) -> DecodedBatch:
            logits = np.full((len(batch.iou), 3), logit, np.float32)
            return replace(scored(*scores)(batch), category_logits=logits)

        return answer

    ties = (0.1, 0.2, 0.9, 0.8999), (0.1, 0.2, 0.8999, 0.9)
    reference = Reference.of_runner(Altered(decoded=told(ties[0], 1)))
    assert "category_logits" not in held(reference, decoded=told(ties[1], 5)).tensors
    assert held(reference, decoded=told(ties[0], 5)).tensors["category_logits"].max == 4
    write_record(tmp_path, reference, core=0.0)
    kept = read_record(tmp_path)
    assert not isinstance(kept, str)
    for scores, compared in ((ties[1], False), (ties[0], True)):
        again = Reference.of_runner(Altered(decoded=told(scores, 5)))
        found = compare_record(kept, again, LIMITS, core=0.0, build="onnx fp32", ran_on="here")
        assert isinstance(found, Report)
        assert ("category_logits" in found.tensors) == compared


def test_an_energy_query_of_other_places_in_a_tie_is_counted_and_not_compared() -> None:
    def placed(first: float, query: float) -> Callable[[EncodedBatch], EncodedBatch]:
        def answer(batch: EncodedBatch) -> EncodedBatch:
            attention = np.zeros_like(batch.attention)
            attention[:, 0, :5] = (first, 0.5, 0.4, 0.3, 0.2)
            return replace(
                batch, attention=attention, energy_query=batch.energy_query * np.float32(query)
            )

        return answer

    reference = Reference.of_runner(Altered(encoded=placed(0.50001, 1)))
    report = held(reference, encoded=placed(0.49999, 2))
    assert report.num_other_places == 6
    assert "energy_query" not in report.tensors
    assert held(reference, encoded=placed(0.50001, 2)).tensors["energy_query"].max > 0.9


def test_half_precision_is_handed_back_in_its_own_type_and_compared_as_float32(
    reference: Reference,
) -> None:
    seen = []

    def halved(batch: EncodedBatch) -> EncodedBatch:
        half = np.float16
        return replace(
            batch,
            embedding=batch.embedding.astype(half),
            energy_query=batch.energy_query.astype(half),
        )

    runner = Altered(encoded=halved)
    decode = runner.inner.decode

    def typed(**inputs: Any) -> DecodedBatch:
        seen.append((inputs["embedding"].dtype, inputs["energy_query"].dtype))
        return decode(**{**inputs, "embedding": inputs["embedding"].astype(np.float32)})

    runner.inner.decode = typed
    report = compare(reference, runner, THRESHOLDS["fp16"])
    assert set(seen) == {(np.dtype(np.float16), np.dtype(np.float16))}
    assert 0 < report.tensors["embedding"].max < 1e-3


def test_refined_prompts_send_the_references_own_logits(reference: Reference) -> None:
    for shot in reference.shots:
        with_mask = [prompt.mask_logits is not None for prompt in shot.asked]
        assert with_mask == [prompt.refined for prompt in shot.sample.prompts]
        assert sum(with_mask) == 1
