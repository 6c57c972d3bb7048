"""What a data set holds, counted in one pass over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from apsam_train.categories import SUPERCLASS, UNKNOWN, label_of
from apsam_train.data.dataset import ImageDataset, usable_samples
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import Sample

MAX_QUICK_SAMPLES = 500


@dataclass(kw_only=True)
class CategoryCount:
    """How often a category occurs: with outline, with box only, and in how many images."""

    num_instances: int = 0
    num_boxes: int = 0
    num_images: int = 0


@dataclass(kw_only=True)
class Inspection:
    """Totals of the samples that were read. heights, widths, num_objects: how many images have
    each value; picks: indices of samples to look at, spread evenly."""

    categories: dict[str, CategoryCount] = field(default_factory=dict)
    heights: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    num_objects: Counter[int] = field(default_factory=Counter)
    picks: list[int] = field(default_factory=list)

    @property
    def num_read(self) -> int:
        """Usable samples."""
        return self.num_objects.total()

    def add(self, sample: Sample) -> None:
        """Count a sample."""
        self.heights[sample.image.shape[0]] += 1
        self.widths[sample.image.shape[1]] += 1
        outlined = Counter(instance.category for instance in sample.instances)
        boxed = Counter(box.category for box in sample.boxes)
        self.num_objects[outlined.total() + boxed.total()] += 1
        for name in outlined | boxed:
            count = self.categories.setdefault(name, CategoryCount())
            count.num_instances += outlined[name]
            count.num_boxes += boxed[name]
            count.num_images += 1

    def to_json(self, categories_in_xseg: dict[str, str]) -> dict[str, Any]:
        """Plain values; categories by frequency, with what each is called in Table 7."""
        total = sum(number * images for number, images in self.num_objects.items())
        return {
            "num_read": self.num_read,
            "categories": [
                {
                    "name": name,
                    "xseg": xseg_name(categories_in_xseg.get(name, name)),
                    "num_instances": count.num_instances,
                    "num_boxes": count.num_boxes,
                    "num_images": count.num_images,
                }
                for name, count in sorted(
                    self.categories.items(),
                    key=lambda item: (-item[1].num_instances - item[1].num_boxes, item[0]),
                )
            ],
            "width": _range(self.widths),
            "height": _range(self.heights),
            "objects_per_image": _range(self.num_objects)
            | {
                "mean": total / max(1, self.num_read),
                "num_images_without": self.num_objects[0],
            },
        }


def inspect(
    dataset: ImageDataset,
    log: ProblemLog,
    *,
    num_picks: int,
    on_sample: Callable[[int], None] = lambda _index: None,
) -> Inspection:
    """Read every sample once. Of each of `num_picks` equal stretches the first sample with objects
    is picked, or the first usable one. Raises DatasetError at a problem when the log is strict."""
    inspection = Inspection()
    picked: dict[int, tuple[bool, int]] = {}
    for index, sample in usable_samples(dataset, log):
        on_sample(index)
        inspection.add(sample)
        stretch = index * num_picks // len(dataset)
        shows = bool(sample.instances or sample.boxes)
        if stretch not in picked or (shows and not picked[stretch][0]):
            picked[stretch] = shows, index
    inspection.picks = [index for _, index in picked.values()][:num_picks]
    return inspection


def every_kth(dataset: ImageDataset) -> tuple[ImageDataset, int]:
    """(at most `MAX_QUICK_SAMPLES` of the samples, evenly spread; k)."""
    step = -(-len(dataset) // MAX_QUICK_SAMPLES)
    return dataset.with_entries(dataset.entries[::step]), step


def xseg_name(name: str) -> str | None:
    """What a name says in terms of Table 7; None for a name outside the thirty."""
    if label_of(name) == UNKNOWN:
        return None
    return name if name in SUPERCLASS else f"{name} (superclass)"


def _range(values: Counter[int]) -> dict[str, Any]:
    if not values:
        return {"least": None, "most": None}
    return {"least": min(values), "most": max(values)}
