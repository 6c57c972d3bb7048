"""Images and questions through a runner on the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import Prompt, to_decoder
from apsam_serve.engine.compute import Encoded, Question
from apsam_serve.engine.host_compute import HostCompute, HostEncoded
from apsam_serve.errors import ModelFaultError
from apsam_serve.runtime.base import DecodedBatch, EncodedBatch, Runner
from apsam_serve.runtime.fake import FakeRunner


class SpoiledRunner:
    """A double whose decoder's answers go through `spoil`, and which keeps what it was fed."""

    def __init__(self, model: ModelSpec, spoil: Callable[[DecodedBatch], None]) -> None:
        self.model = model
        self.inner = FakeRunner(model)
        self.build = self.inner.build
        self.spoil = spoil
        self.device = None
        self.fed: list[dict[str, Any]] = []
        self.energies: list[NDArray[np.uint8] | None] = []

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to free."""

    def encode(
        self, images: NDArray[np.uint8], energy: NDArray[np.uint8] | None = None
    ) -> EncodedBatch:
        self.energies.append(energy)
        return self.inner.encode(images, energy)

    def decode(self, **inputs: Any) -> DecodedBatch:
        self.fed.append(inputs)
        decoded = self.inner.decode(**inputs)
        self.spoil(decoded)
        return decoded


def _nothing(decoded: DecodedBatch) -> None:
    pass


def _pixels(image: NDArray[np.uint8], runner: Runner) -> tuple[Pixels, LetterBox]:
    boxed, frame = letterbox(image, side=runner.model.side)
    return Pixels(image=boxed, energy=boxed), frame


def _question(
    runner: Runner,
    bag: NDArray[np.uint8],
    encoded: Encoded | None = None,
    *,
    refine: int | None = None,
    keep: int | None = None,
) -> Question:
    pixels, frame = _pixels(bag, runner)
    return Question(
        encoded=encoded or HostCompute(runner, num_masks=2).encode([pixels])[0][0],
        frame=frame,
        prompts=[to_decoder(Prompt.click(20, 20), frame)],
        refine=[refine],
        keep=[keep],
        strategy="direct",
        apg=ApgConfig(),
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("what", "field"),
    [("logits", "logits"), ("IoU", "iou"), ("category logits", "category_logits")],
)
def test_an_answer_that_is_no_number_is_a_fault_of_the_model(
    named_model: ModelSpec, bag: NDArray[np.uint8], what: str, field: str, value: float
) -> None:
    def spoil(decoded: DecodedBatch) -> None:
        getattr(decoded, field).flat[1] = value

    runner = SpoiledRunner(named_model, spoil)
    message = f"the decoder answered {what} that are no numbers, for 1 prompts; export the bundle"
    with pytest.raises(ModelFaultError, match=message):
        HostCompute(runner).answer([_question(runner, bag)])


def test_one_image_is_decoded_without_a_copy_and_each_of_several_is_sent_once(
    model: ModelSpec, bag: NDArray[np.uint8]
) -> None:
    runner = SpoiledRunner(model, _nothing)
    one, other = _question(runner, bag), _question(runner, 255 - bag)
    HostCompute(runner).answer([one, _question(runner, bag, one.encoded)])
    assert isinstance(one.encoded, HostEncoded)
    assert np.shares_memory(runner.fed[0]["embedding"], one.encoded.embedding)
    assert runner.fed[0]["image_index"].tolist() == [0, 0]
    HostCompute(runner).answer([one, other, _question(runner, bag, one.encoded)])
    assert len(runner.fed[1]["embedding"]) == 2
    assert runner.fed[1]["image_index"].tolist() == [0, 1, 0]


def test_the_core_of_adaptive_points_is_the_models(
    bag: NDArray[np.uint8], model: ModelSpec
) -> None:
    def points(core: float) -> list[tuple[float, float]]:
        runner = FakeRunner(replace(model, apg_core=core))
        question = replace(_question(runner, bag), strategy="apg")
        ((answer,),), _ = HostCompute(runner).answer([question])
        return [tuple(point) for point in answer.points.tolist()]

    def spread(found: list[tuple[float, float]]) -> float:
        return float(np.hypot(*np.subtract(*found)))

    assert spread(points(0.0)) > spread(points(6.0)) > 0


def test_a_kept_mask_is_what_a_later_prompt_refines(
    model: ModelSpec, bag: NDArray[np.uint8]
) -> None:
    runner = SpoiledRunner(model, _nothing)
    first = _question(runner, bag, keep=1)
    ((answer,),), _ = HostCompute(runner).answer([first])
    HostCompute(runner).answer([_question(runner, bag, first.encoded, refine=1)])
    plain, refined = runner.fed
    assert plain["has_mask_input"].tolist() == [0]
    assert refined["has_mask_input"].tolist() == [1]
    assert answer.logits is not None
    assert np.array_equal(refined["mask_input"][0, 0], answer.logits)


def test_what_an_image_takes_is_what_its_arrays_take(
    model: ModelSpec, bag: NDArray[np.uint8]
) -> None:
    compute = HostCompute(FakeRunner(model), num_masks=3)
    (one,), _ = compute.encode([_pixels(bag, FakeRunner(model))[0]])
    assert isinstance(one, HostEncoded)
    arrays = (one.embedding, one.energy_query, one.attention, one.masks)
    assert compute.held_bytes == sum(array.nbytes for array in arrays)


def test_a_scanners_own_energies_go_to_the_energy_encoder_and_others_are_not_copied(
    model: ModelSpec, bag: NDArray[np.uint8]
) -> None:
    runner = SpoiledRunner(model, _nothing)
    plain, _ = _pixels(bag, runner)
    pair = Pixels(image=plain.image, energy=255 - plain.image)
    compute = HostCompute(runner)
    compute.encode([plain, plain])
    compute.encode([plain, pair])
    assert runner.energies[0] is None
    assert runner.energies[1] is not None
    assert np.array_equal(runner.energies[1], [plain.image, pair.energy])
