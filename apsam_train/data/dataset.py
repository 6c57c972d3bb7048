"""The one reader of images and objects, whatever format they came in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from apsam_serve.contract.images import decode
from apsam_serve.errors import InvalidImageError
from apsam_train.categories import label_of
from apsam_train.data.entry import Entry, Shape
from apsam_train.data.problems import Problem, ProblemKind, ProblemLog, UnusableSampleError
from apsam_train.data.sample import BoxedObject, Instance, Sample, SampleSource
from apsam_train.data.shapes import as_object
from apsam_train.errors import DatasetError


class ImageDataset:
    """Implements `SampleSource` over entries.

    format: name of the file in `data/formats` that read them; categories_in_xseg: this data set's
    names -> names of Table 7, where they differ; renamed: see `in_table_7`.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        root: Path,
        format: str,
        categories_in_xseg: Mapping[str, str] | None = None,
        renamed: bool = False,
    ) -> None:
        self.entries = tuple(entries)
        self.root = root
        self.format = format
        self.categories_in_xseg = dict(categories_in_xseg or {})
        self._renamed = renamed

    @property
    def description(self) -> str:
        return f"{self.root.name} ({self.format}): {len(self)} images"

    @property
    def splits(self) -> list[str]:
        """The names by which the data set divides itself."""
        return sorted({entry.split for entry in self.entries})

    def of_split(self, split: str) -> ImageDataset:
        """The entries of a split and of its parts ("test" has "test/hard"). Raises DatasetError."""
        chosen = [e for e in self.entries if f"{e.split}/".startswith(f"{split}/")]
        if not chosen:
            raise DatasetError(
                f"{self.root} has no split {split!r}; it has {', '.join(map(repr, self.splits))}"
            )
        return self.with_entries(chosen)

    def evenly(self, num: int) -> ImageDataset:
        """At most `num` entries, spread evenly over all."""
        step = max(1.0, len(self) / num)
        return self.with_entries([self.entries[int(i * step)] for i in range(min(num, len(self)))])

    def with_entries(self, entries: Sequence[Entry]) -> ImageDataset:
        """The same data set with these entries only."""
        return ImageDataset(
            entries,
            root=self.root,
            format=self.format,
            categories_in_xseg=self.categories_in_xseg,
            renamed=self._renamed,
        )

    def in_table_7(self) -> ImageDataset:
        """The same data set, its objects under their names in Table 7 where they have one: for
        whoever writes files that no longer say which data set they came from."""
        return ImageDataset(
            self.entries,
            root=self.root,
            format=self.format,
            categories_in_xseg=self.categories_in_xseg,
            renamed=True,
        )

    def label_of(self, category: str) -> int:
        return label_of(self.categories_in_xseg.get(category, category))

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample. Raises UnusableSampleError when image or annotation cannot be used."""
        entry = self.entries[index]
        problems: list[Problem] = []

        def report(kind: ProblemKind, detail: str) -> None:
            problems.append(Problem(kind=kind, where=entry.name, detail=detail))

        try:
            image = decode(entry.image.read_bytes())
        except OSError as error:
            raise _unusable(ProblemKind.MISSING_IMAGE, entry, f"{error.strerror}") from error
        except InvalidImageError as error:
            raise _unusable(ProblemKind.UNREADABLE_IMAGE, entry, f"{error}") from error
        height, width = image.shape[:2]
        if entry.size not in (None, (height, width)):
            detail = f"{width} x {height} pixels, annotated as {entry.size[::-1]} (width, height)"
            raise _unusable(ProblemKind.SIZE_MISMATCH, entry, detail)
        try:
            shapes = [self._named(shape) for shape in entry.read_shapes(report)]
        except UnusableSampleError:
            raise
        except DatasetError as error:
            raise _unusable(ProblemKind.BAD_ANNOTATION, entry, f"{error}") from error
        objects = [as_object(s, height=height, width=width, report=report) for s in shapes]
        return Sample(
            name=entry.name,
            image=image,
            instances=tuple(o for o in objects if isinstance(o, Instance)),
            boxes=tuple(o for o in objects if isinstance(o, BoxedObject)),
            split=entry.split,
            bag=entry.bag or entry.name,
            problems=tuple(problems),
        )

    def _named(self, shape: Shape) -> Shape:
        if not self._renamed:
            return shape
        name = self.categories_in_xseg.get(shape.category, shape.category)
        return replace(shape, category=name)


def usable_samples(source: SampleSource, log: ProblemLog) -> Iterator[tuple[int, Sample]]:
    """(index, sample) of every sample that can be used; all others, and all that was mended, are
    counted. Raises DatasetError at the first problem when the log is strict."""
    for index in range(len(source)):
        try:
            sample = source[index]
        except UnusableSampleError as error:
            log.extend([error.problem])
            continue
        log.extend(sample.problems)
        yield index, sample


def _unusable(kind: ProblemKind, entry: Entry, detail: str) -> UnusableSampleError:
    return UnusableSampleError(Problem(kind=kind, where=entry.name, detail=detail))
