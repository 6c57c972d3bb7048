"""Labels questioned by features: planted errors are found, and nothing else is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from apsam_train.errors import DatasetError
from apsam_train.labels.kinds import TwoKinds, find_two_kinds
from apsam_train.labels.neighbours import Features, agree, neighbourhood, normalised
from apsam_train.labels.projection import MOST_POINTS, Method, plane, shown
from apsam_train.labels.suspects import Suspect, find_mixed_pairs, find_suspects

NAMES = ("Gun", "Bullet", "Hammer", "Pliers", "Laptop", "Lighter")


@dataclass(frozen=True, kw_only=True, eq=False)
class Objects:
    features: Features
    categories: list[str]
    bags: list[str]


def separable(counts: Sequence[int], *, seed: int = 0, gap: float = 5.0) -> Objects:
    """A cloud of deviation 1 in 24 dimensions per category, and 3 objects per bag."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(counts), 24))
    centres *= gap / np.linalg.norm(centres, axis=1, keepdims=True) * 1.4
    code = np.repeat(np.arange(len(counts)), counts)
    order = rng.permutation(len(code))
    features = 20 + centres[code[order]] + rng.normal(size=(len(code), 24))
    return Objects(
        features=features.astype(np.float32),
        categories=[NAMES[i] for i in code[order]],
        bags=[f"bag {i // 3}" for i in range(len(code))],
    )


def two_kinds(
    features: Features,
    categories: Sequence[str],
    *,
    without: Sequence[int] = (),
    least_silhouette: float = 0.7,
) -> list[TwoKinds]:
    return find_two_kinds(
        features, categories, without=without, fewest=20, least_silhouette=least_silhouette, seed=0
    )


def suspects_of(objects: Objects, categories: Sequence[str], *, k: int = 15) -> list[Suspect]:
    unit = normalised(objects.features)
    near = neighbourhood(unit, categories=categories, bags=objects.bags, k=k)
    return find_suspects(near, least_score=0.4)


@pytest.mark.parametrize("counts", [(60,) * 6, (200, 100, 60, 40, 20, 10)])
def test_planted_swaps_of_labels_are_found(counts: tuple[int, ...]) -> None:
    objects = separable(counts)
    rng = np.random.default_rng(1)
    swapped = set(rng.choice(len(objects.categories), len(objects.categories) // 12, False))
    labels = [
        str(rng.choice([n for n in NAMES if n != name])) if i in swapped else name
        for i, name in enumerate(objects.categories)
    ]
    found = suspects_of(objects, labels)
    hits = swapped & {one.position for one in found}
    assert len(hits) >= 0.8 * len(swapped)
    assert len(hits) >= 0.5 * len(found)
    right = [one for one in found if one.suggested == objects.categories[one.position]]
    assert len(right) >= 0.9 * len(hits)
    assert found == suspects_of(objects, labels)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)


def test_right_labels_are_not_suspected_even_of_rare_categories() -> None:
    objects = separable((60, 60, 60, 60, 60, 5))
    assert suspects_of(objects, objects.categories) == []


def test_a_superclass_is_no_contradiction_to_its_categories() -> None:
    objects = separable((40, 40, 40))
    half = ["Firearms" if n == "Gun" and i % 2 else n for i, n in enumerate(objects.categories)]
    assert suspects_of(objects, half) == []
    assert agree("Scissors", "MetalhandleScissors")
    assert not agree("Gun", "Bullet")


def test_a_wrong_label_repeated_in_one_bag_does_not_vouch_for_itself() -> None:
    objects = separable((80, 80))
    guns = [i for i, name in enumerate(objects.categories) if name == "Gun"][:16]
    labels = ["Bullet" if i in guns else name for i, name in enumerate(objects.categories)]
    bags = ["one bag" if i in guns else bag for i, bag in enumerate(objects.bags)]
    together = Objects(features=objects.features, categories=labels, bags=bags)
    assert {one.position for one in suspects_of(together, labels, k=8)} == set(guns)


def test_an_object_alone_of_its_category_is_not_judged() -> None:
    objects = separable((50, 50))
    labels = ["Laptop", *objects.categories[1:]]
    near = neighbourhood(normalised(objects.features), categories=labels, bags=objects.bags, k=15)
    own = near.own_support()
    assert np.flatnonzero(np.isnan(own)).tolist() == [0]
    assert find_suspects(near, least_score=0.4) == []
    assert near.agreement() > 0.95
    assert near.chance() == pytest.approx(0.5, abs=0.02)


def test_more_neighbours_than_objects_of_other_bags_are_refused() -> None:
    objects = separable((6, 6))
    with pytest.raises(DatasetError, match=r"12 objects in 4 bags leave 9 .* fewer than the 10"):
        suspects_of(objects, objects.categories, k=10)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_merged_category_looks_like_two_kinds_and_pure_ones_do_not(seed: int) -> None:
    objects = separable((60, 40, 60, 60, 25, 120), seed=seed)
    merged = ["Gun" if name == "Bullet" else name for name in objects.categories]
    (found,) = two_kinds(objects.features, merged)
    assert found.category == "Gun"
    truth = [{objects.categories[i] for i in part} for part in found.parts]
    assert truth == [{"Gun"}, {"Bullet"}]
    assert [len(part) for part in found.parts] == [60, 40]
    assert found.silhouette > found.chance + 0.05
    (again,) = two_kinds(objects.features, merged)
    assert all(np.array_equal(a, b) for a, b in zip(found.parts, again.parts, strict=True))


def test_one_elongated_kind_is_not_two() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 24)) + 10
    features[:, 0] += rng.normal(size=200) * 6
    assert two_kinds(features.astype(np.float32), ["Gun"] * 200, least_silhouette=0.5) == []


def test_objects_that_another_category_claims_are_no_kind() -> None:
    objects = separable((60, 60))
    bullets = [i for i, name in enumerate(objects.categories) if name == "Bullet"]
    labels = ["Gun" if i in bullets[:10] else name for i, name in enumerate(objects.categories)]
    suspects = [one.position for one in suspects_of(objects, labels)]
    assert set(suspects) <= set(bullets[:10])
    assert len(suspects) >= 6
    assert [one.category for one in two_kinds(objects.features, labels)] == ["Gun"]
    assert two_kinds(objects.features, labels, without=suspects) == []


def test_categories_whose_labels_are_drawn_by_lot_cannot_be_told_apart() -> None:
    objects = separable((90, 90, 90, 60))
    rng = np.random.default_rng(0)
    # A frequent and a rare one: the rate must not depend on how frequent they are.
    labels = [
        ("Hammer" if rng.random() < 0.8 else "Wrench") if name == "Hammer" else name
        for name in objects.categories
    ]
    unit = normalised(objects.features)
    near = neighbourhood(unit, categories=labels, bags=objects.bags, k=15)
    (pair,) = find_mixed_pairs(near, fewest=10, least_rate=0.25)
    assert pair.names == ("Hammer", "Wrench")
    assert pair.rate == pytest.approx(0.5, abs=0.08)
    assert sum(pair.num_objects) == 90
    assert find_mixed_pairs(near, fewest=50, least_rate=0.25) == []


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_seed_gives_the_same_plane_in_which_categories_lie_apart(method: Method) -> None:
    objects = separable((20, 20))
    unit = normalised(objects.features)
    first, again = (plane(unit, method=method, seed=3) for _ in range(2))
    assert np.array_equal(first, again)
    guns = np.array(objects.categories) == "Gun"
    between = np.linalg.norm(first[guns].mean(axis=0) - first[~guns].mean(axis=0))
    assert between > 2 * first[guns].std(axis=0).max()


def test_every_suspect_is_drawn_of_more_objects_than_a_picture_holds() -> None:
    chosen = shown(2 * MOST_POINTS, [7, 9999], seed=0)
    assert len(chosen) == MOST_POINTS
    assert {7, 9999} <= set(chosen.tolist())
    assert len(shown(10, [3], seed=0)) == 10
