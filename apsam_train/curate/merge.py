"""The last stage: one COCO file per split, with one list of categories, and the images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsam_serve.progress import Progress
from apsam_train.curate.coco_file import coco_file
from apsam_train.curate.filters.split import SUBSETS
from apsam_train.curate.images import ImagePlacer
from apsam_train.curate.index import lines
from apsam_train.curate.record import Record
from apsam_train.curate.taxonomy import UNMAPPED_ID, CategoryMap, category_of


@dataclass(frozen=True, kw_only=True)
class Merge:
    """in_xseg: source -> what its format knows of Table 7; drop_unmapped: leave objects outside
    Table 7 out instead of keeping them as category 99."""

    link: str
    drop_unmapped: bool
    category_map: CategoryMap
    in_xseg: Mapping[str, Mapping[str, str]]

    def options(self) -> dict[str, Any]:
        """What the result depends on, by command line option."""
        return {
            "--link": self.link,
            "--unmapped": "drop" if self.drop_unmapped else "keep",
            "--category-map": self.category_map,
        }

    def write(self, records: Sequence[Record], measured: Path, out: Path) -> dict[str, Any]:
        """Write OUT/annotations/{train,val,test}.json and place the images of `records`, whose
        objects are read from the index `measured`. Returns what the report should tell."""
        placer = ImagePlacer(out, link=self.link)
        folder = out / "annotations"
        folder.mkdir(exist_ok=True)
        kept = {record.id: record for record in records}
        mapped: Counter[tuple[str, str, int]] = Counter()
        with ExitStack() as stack, Progress("merge") as bar:
            files = {
                subset: stack.enter_context(coco_file(folder / f"{subset}.json"))
                for subset in SUBSETS
            }
            for done, (record, objects) in enumerate(_with_objects(kept, measured), start=1):
                annotations = [self._annotation(item, record) for item in objects]
                for annotation in annotations:
                    source_category, number = (
                        annotation["source_category"],
                        annotation["category_id"],
                    )
                    mapped[record.source, source_category, number] += 1
                if self.drop_unmapped:
                    annotations = [a for a in annotations if a["category_id"] != UNMAPPED_ID]
                files[record.subset].add(_image(record, placer.place(record)), annotations)
                bar.show(done / len(kept), f"{done}/{len(kept)} images")
        return {
            "placed": dict(placer.counts),
            "mapped": [[*row, count] for row, count in sorted(mapped.items())],
            "splits": {subset: file.counts() for subset, file in files.items()},
        }

    def is_written(self, notes: Mapping[str, Any], out: Path) -> bool:
        """Whether the files are there that an earlier `write` told of."""
        written = [subset for subset, counts in notes["splits"].items() if counts["images"]]
        return all((out / "annotations" / f"{subset}.json").is_file() for subset in written)

    def _annotation(self, item: dict[str, Any], record: Record) -> dict[str, Any]:
        number = category_of(
            item["category"],
            source=record.source,
            given=self.category_map,
            in_xseg=self.in_xseg.get(record.source, {}),
        )
        return {
            "category_id": number,
            **{key: value for key, value in item.items() if key != "category"},
            "iscrowd": 0,
            "source": record.source,
            "source_category": item["category"],
            "source_image": record.name,
        }


def _with_objects(
    kept: Mapping[str, Record], measured: Path
) -> Iterator[tuple[Record, list[dict[str, Any]]]]:
    for line in lines(measured):
        found = json.loads(line)
        record = kept.get(f"{found['record']['source']}/{found['record']['name']}")
        if record is not None:
            yield record, found["objects"]


def _image(record: Record, file_name: str) -> dict[str, Any]:
    return {
        "file_name": file_name,
        "width": record.width,
        "height": record.height,
        "source": record.source,
        "source_image": record.name,
        "source_split": record.split,
        "bag": record.bag_id,
    }
