"""What is known of one image once it has been measured: no later stage reads pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Link:
    """A bag with an image that looks like this one, dropped or kept. bag: as `Record.bag_id`;
    split: as its own data set says."""

    bag: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Why an image is a copy. of: id of the image that is kept; distance: bits of 64, None for
    equal files; orientation: of `phash.ORIENTATIONS`; same_objects: as many of each category."""

    of: str
    distance: int | None
    orientation: str
    same_objects: bool


@dataclass(frozen=True, kw_only=True)
class Record:
    """One image. image: path; laplacian: variance of the Laplacian; phash: see `phash`; categories:
    one name per object, sorted; mask_shares: share of the image that each mask covers.

    What stages add: dropped, the reason why it goes no further, "" while it does; duplicate;
    linked; subset, one of train, val, test.
    """

    source: str
    name: str
    image: str
    split: str = ""
    bag: str = ""
    width: int = 0
    height: int = 0
    laplacian: float = 0.0
    phash: str = ""
    sha256: str = ""
    categories: tuple[str, ...] = ()
    mask_shares: tuple[float, ...] = ()
    dropped: str = ""
    duplicate: Duplicate | None = None
    linked: tuple[Link, ...] = ()
    subset: str = ""

    @property
    def id(self) -> str:
        """Unique among all sources."""
        return f"{self.source}/{self.name}"

    @property
    def bag_id(self) -> str:
        """Equal for all views of one bag; unique among all sources."""
        return f"{self.source}/{self.bag}"

    @property
    def aspect(self) -> float:
        """Width by height."""
        return self.width / self.height

    def has_objects_of(self, other: Record) -> bool:
        """Whether both have as many objects of each category."""
        return Counter(self.categories) == Counter(other.categories)

    def to_json(self) -> dict[str, Any]:
        """Plain values, those at their default left out."""
        # asdict of the whole would copy every tuple, 20 times as slow
        values = {key: value for key, value in vars(self).items() if value or value == 0.0}
        if self.linked:
            values["linked"] = [asdict(link) for link in self.linked]
        if self.duplicate is not None:
            values["duplicate"] = asdict(self.duplicate)
        return values


def record_from_json(values: Mapping[str, Any]) -> Record:
    """What `Record.to_json` gave."""
    fields = dict(values)
    for key in ("categories", "mask_shares"):
        fields[key] = tuple(fields.get(key, ()))
    fields["linked"] = tuple(Link(**link) for link in fields.get("linked", ()))
    if "duplicate" in fields:
        fields["duplicate"] = Duplicate(**fields["duplicate"])
    return Record(**fields)
