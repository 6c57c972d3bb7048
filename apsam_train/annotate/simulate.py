"""`apsam-train annotate simulate`: the paper's rounds (3.2) with a simulated annotator.

    start set -> fit -> propose on new images from the truth's boxes -> correct -> accept -> collect
         ^                                                                                  |
         +----------------------------------------------------------------------------------+

Every model starts from scratch and trains equally long, so that what changes is its training set;
or, `continued`, each goes on from the one before, as a team would do. That one also gains by longer
training, so a control goes on as long on the start set alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from apsam_serve.contract.masks import mask_iou
from apsam_serve.contract.segmenter import Segmenter
from apsam_train.annotate.accept import accept
from apsam_train.annotate.collect import collect
from apsam_train.annotate.corrector import Annotator, correct
from apsam_train.annotate.digests import model_sha256
from apsam_train.annotate.known import KnownObject
from apsam_train.annotate.prompts import outline
from apsam_train.annotate.proposals import ProposeOptions
from apsam_train.annotate.propose import propose
from apsam_train.annotate.report import draw_curves
from apsam_train.config import TrainConfig
from apsam_train.data.boxes import mask_box
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.entry import ReadShapes, Report, Shape
from apsam_train.data.formats import open_dataset
from apsam_train.data.sample import Instance, Sample, SampleSource
from apsam_train.data.shapes import as_object
from apsam_train.errors import ConfigError
from apsam_train.evaluate.sources import open_segmenter
from apsam_train.fit import fit
from apsam_train.tables import Table

Train = Callable[[SampleSource, Path, Path | None], Path]
"""train(source, out, start) -> checkpoint. start: the checkpoint to go on from, if any."""


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """num_rounds after the start set, images_per_round in each and in the start set; prompt: how
    proposals are asked for; annotator: who corrects them; continued: go on from the model of the
    round before, with a control; seed: of everything drawn."""

    num_rounds: int = 5
    images_per_round: int = 50
    prompt: str = "auto"
    annotator: Annotator = field(default_factory=Annotator)
    continued: bool = False
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class RoundResult:
    """A round's proposals and what the model trained after it is worth, as mean IoU with the truth.

    number 0 is the start set, which is outlined by hand: its proposals count nothing, and are None.
    held_out_miou: masks from the truth's boxes on images no round has; control_miou: the same, of
    the model that saw nothing but the start set.
    """

    number: int
    num_images: int
    held_out_miou: float
    control_miou: float | None = None
    proposed_miou: float | None = None
    corrected_miou: float | None = None
    share_touched: float | None = None


def trainer(
    config: TrainConfig, *, minutes: float | None = None, num_steps: int | None = None
) -> Train:
    """Training for `minutes`, for about `num_steps` in whole epochs, or as configured."""

    def train(source: SampleSource, out: Path, start: Path | None) -> Path:
        chosen = config
        if num_steps is not None:
            steps_per_epoch = max(1, len(source) // config.batch_size)
            chosen = replace(config, epochs=max(1, round(num_steps / steps_per_epoch)))
        return fit(chosen, source=source, out=out, minutes=minutes, start=start)

    return train


def simulate(
    train: Train,
    *,
    pool: ImageDataset,
    held_out: ImageDataset,
    out: Path,
    options: SimulateOptions,
    open_model: Callable[[str], Segmenter] = open_segmenter,
    on_round: Callable[[RoundResult], None] = lambda _result: None,
) -> list[RoundResult]:
    """Run all rounds in the new folder `out`. Raises ConfigError when the pool is too small."""
    parts = _parts(pool, options)
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out {out} is not empty; choose another folder")
    results: list[RoundResult] = []
    rounds: list[Path] = []
    training: SampleSource = parts[0]
    model: Path | None = None
    for number in range(options.num_rounds + 1):
        result = RoundResult(number=number, num_images=len(parts[0]), held_out_miou=0.0)
        if model is not None:
            rounds.append(out / f"round{number}")
            result = _annotate(open_model, model, parts[number], rounds[-1], number, options)
            collect(rounds, out=out / f"train{number}", extra=parts[0], link=True)
            training = open_dataset(out / f"train{number}")
            result = replace(result, num_images=len(training))
        model = train(training, out / f"model{number}", model if options.continued else None)
        miou = held_out_miou(open_model, model, held_out, options)
        results.append(replace(result, held_out_miou=miou))
        on_round(results[-1])
    if options.continued:
        return _with_control(results, train, open_model, parts[0], held_out, out, options)
    return results


def _with_control(
    results: list[RoundResult],
    train: Train,
    open_model: Callable[[str], Segmenter],
    start_set: ImageDataset,
    held_out: ImageDataset,
    out: Path,
    options: SimulateOptions,
) -> list[RoundResult]:
    """The results with those of a model that trained as long, on the start set alone."""
    model = out / "model0" / "model.safetensors"
    controlled = [replace(results[0], control_miou=results[0].held_out_miou)]
    for result in results[1:]:
        model = train(start_set, out / f"control{result.number}", model)
        miou = held_out_miou(open_model, model, held_out, options)
        controlled.append(replace(result, control_miou=miou))
    return controlled


def held_out_miou(
    open_model: Callable[[str], Segmenter],
    checkpoint: Path,
    held_out: ImageDataset,
    options: SimulateOptions,
) -> float:
    """Mean IoU of masks that are asked for by the truth's boxes, as proposals are."""
    segmenter = open_model(str(checkpoint))
    ious: list[float] = []
    try:
        for index in range(len(held_out)):
            sample = held_out[index]
            if sample.instances:
                ious += _ious(segmenter, sample, options, seed=[options.seed, index])
    finally:
        segmenter.close()
    return float(np.mean(ious)) if ious else 0.0


def write_results(
    results: list[RoundResult], *, out: Path, command: str, machine: str, options: SimulateOptions
) -> None:
    """Write OUT.md with its table, OUT.png and, for machines, OUT.json."""
    columns = _columns(results)
    shown = as_simulated_table(results)
    rows = [shown.columns, ("---",) * len(shown.columns), *shown.rows]
    picture = out.with_suffix(".png")
    curves = {name: [v for v in values if v is not None] for name, values in columns.items()}
    draw_curves(picture, {name: values for name, values in curves.items() if values}, first=0)
    table = "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
    out.write_text(
        f"# Simulated annotation rounds\n\n`{command}`\n\n{machine}\n\n{table}\n\n"
        f"![mIoU by round]({picture.name})\n",
        encoding="utf-8",
    )
    document = {"options": asdict(options), "rounds": [asdict(one) for one in results]}
    out.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def as_simulated_table(results: list[RoundResult]) -> Table:
    """A line per round."""
    shown = _columns(results) | {"touched": [one.share_touched for one in results]}
    rows = []
    for index, one in enumerate(results):
        figures = (values[index] for values in shown.values())
        texts = ("-" if value is None else f"{value:.1%}" for value in figures)
        rows.append((one.number, one.num_images, *texts))
    return Table(columns=("round", "images trained on", *shown), rows=rows)


def _columns(results: list[RoundResult]) -> dict[str, list[float | None]]:
    return {
        "held-out mIoU": [one.held_out_miou for one in results],
        "control, start set alone": [one.control_miou for one in results],
        "proposals": [one.proposed_miou for one in results],
        "as handed in": [one.corrected_miou for one in results],
    }


def _annotate(
    open_model: Callable[[str], Segmenter],
    model: Path,
    part: ImageDataset,
    folder: Path,
    number: int,
    options: SimulateOptions,
) -> RoundResult:
    segmenter = open_model(str(model))
    try:
        propose(
            segmenter,
            _boxes_only(part),
            out=folder,
            model=str(model),
            model_sha256=model_sha256(str(model)),
            options=ProposeOptions(prompt=options.prompt, seed=options.seed),
        )
    finally:
        segmenter.close()
    corrected = folder.with_name(f"{folder.name}-corrected.json")
    outcome = correct(
        folder,
        {sample.name: sample.instances for sample in _samples(part)},
        annotator=options.annotator,
        seed=options.seed + number,
        out=corrected,
    )
    review = accept(folder, corrected=corrected, reviewer="simulated annotator")
    return RoundResult(
        number=number,
        num_images=0,
        held_out_miou=0.0,
        proposed_miou=outcome.proposed_miou,
        corrected_miou=outcome.corrected_miou,
        share_touched=review.share_touched,
    )


def _parts(pool: ImageDataset, options: SimulateOptions) -> list[ImageDataset]:
    """The start set and the images of every round, drawn without replacement."""
    wanted = (options.num_rounds + 1) * options.images_per_round
    if options.num_rounds < 1 or options.images_per_round < 1:
        raise ConfigError("--rounds and --images-per-round must be at least 1")
    if wanted > len(pool):
        raise ConfigError(
            f"--data has {len(pool)} images; a start set and {options.num_rounds} rounds of "
            f"{options.images_per_round} need {wanted}"
        )
    order = np.random.default_rng(options.seed).permutation(len(pool))
    starts = range(0, wanted, options.images_per_round)
    return [
        pool.with_entries(
            [pool.entries[i] for i in sorted(order[s : s + options.images_per_round])]
        )
        for s in starts
    ]


def _boxes_only(part: ImageDataset) -> ImageDataset:
    """The same images with boxes in place of masks: a proposer must not see the truth."""
    entries = [
        replace(entry, read_shapes=partial(_read_boxes, entry.read_shapes, entry.size))
        for entry in part.entries
    ]
    return part.with_entries(entries)


def _read_boxes(read: ReadShapes, size: tuple[int, int] | None, report: Report) -> Iterator[Shape]:
    assert size is not None, "COCO files of synthetic data name the size"
    for shape in read(report):
        found = as_object(shape, height=size[0], width=size[1], report=report)
        if isinstance(found, Instance):
            yield Shape(category=shape.category, box=mask_box(found.mask))


def _samples(part: ImageDataset) -> Iterator[Sample]:
    for index in range(len(part)):
        yield part[index]


def _ious(
    segmenter: Segmenter, sample: Sample, options: SimulateOptions, *, seed: list[int]
) -> list[float]:
    known = [KnownObject(category=i.category, box=mask_box(i.mask)) for i in sample.instances]
    encoded = segmenter.encode(sample.image)
    try:
        proposals = outline(encoded, known, prompt=options.prompt, seed=seed)
    finally:
        encoded.release()
    return [mask_iou(p.mask, i.mask) for p, i in zip(proposals, sample.instances, strict=True)]
