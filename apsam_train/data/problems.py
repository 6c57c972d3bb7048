"""What is wrong with a data set: counted, named, and fatal only when asked to be.

One corrupt file in a hundred thousand must not end a run after an hour, and must not vanish either.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from apsam_train.errors import DatasetError


class ProblemKind(StrEnum):
    """Every way in which a data set can be wrong and still be read."""

    MISSING_IMAGE = "annotation without image"
    MISSING_ANNOTATION = "image without annotation"
    UNREADABLE_IMAGE = "unreadable image"
    BAD_ANNOTATION = "bad annotation"
    SIZE_MISMATCH = "size differs from annotation"
    OUTSIDE_IMAGE = "outside the image"
    EMPTY_MASK = "empty mask"
    DUPLICATE_ID = "duplicate id"
    UNKNOWN_CATEGORY = "unknown category"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """where: file or record; detail: the value that was found and what was expected."""

    kind: ProblemKind
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.detail}"


def problem_of(values: Mapping[str, str]) -> Problem:
    """What `dataclasses.asdict` gave of a problem."""
    return Problem(kind=ProblemKind(values["kind"]), where=values["where"], detail=values["detail"])


class UnusableSampleError(DatasetError):
    """Raised by `ImageDataset` for a sample that cannot be used at all; readers skip and count it.

    problem: what a `ProblemLog` takes."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem

    def __reduce__(self) -> tuple[type[UnusableSampleError], tuple[Problem]]:
        """Crosses the border of a data loading process."""
        return type(self), (self.problem,)


class ProblemLog:
    """Counts problems, each once however often a sample is read, and keeps the first `num_examples`
    of each kind. strict: `add` raises."""

    def __init__(self, *, strict: bool = False, num_examples: int = 20) -> None:
        self.strict = strict
        self._num_examples = num_examples
        self._seen: set[Problem] = set()
        self._counts: Counter[ProblemKind] = Counter()
        self._examples: dict[ProblemKind, list[Problem]] = defaultdict(list)

    def add(self, kind: ProblemKind, where: str, detail: str) -> None:
        """Count one problem. Raises DatasetError when strict."""
        self.extend([Problem(kind=kind, where=where, detail=detail)])

    def extend(self, problems: Iterable[Problem]) -> None:
        """Count several problems. Raises DatasetError at the first when strict."""
        for problem in problems:
            if self.strict:
                raise DatasetError(f"{problem} (--strict stops at the first problem)")
            if problem in self._seen:
                continue
            self._seen.add(problem)
            self._counts[problem.kind] += 1
            if len(self._examples[problem.kind]) < self._num_examples:
                self._examples[problem.kind].append(problem)

    @property
    def num_problems(self) -> int:
        """All problems so far."""
        return self._counts.total()

    def counts(self) -> dict[str, int]:
        """Problems by kind, the most frequent first."""
        return {str(kind): count for kind, count in self._counts.most_common()}

    def summary(self) -> str:
        """A few lines for people; "" when nothing is wrong."""
        lines = []
        for kind, count in self._counts.most_common():
            first = self._examples[kind][0]
            lines.append(f"{count} x {kind}, first: {first.where}: {first.detail}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Counts and examples as plain values."""
        examples = [asdict(p) for problems in self._examples.values() for p in problems]
        return {"counts": self.counts(), "examples": examples}
