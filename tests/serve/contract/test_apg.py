"""The Adaptive Point Generator: branches and edges, each with the answer a person would give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from apsam_serve.contract import apg
from apsam_serve.contract.apg import ApgConfig, ApgResult, adaptive_points

L = 32


def _run(
    mask: NDArray[np.bool_], *, valid: tuple[int, int] | None = None, **config: object
) -> ApgResult:
    logits = np.where(mask, 1, -1).astype(np.float32)
    settings = ApgConfig(**config)  # type: ignore[arg-type]
    return adaptive_points(logits, valid_cells=valid or mask.shape, config=settings)


def _mask(*pixels: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (x, y)."""
    mask = np.zeros((L, L), bool)
    for x, y in pixels:
        mask[y, x] = True
    return mask


def test_an_empty_mask_has_no_points() -> None:
    result = _run(_mask())
    assert result.branch == "empty"
    assert result.points.shape == (0, 2)
    assert result.points.dtype == np.float32
    assert result.box == (0, 0, 0, 0)
    assert not result.assignment.any()
    assert np.isnan(result.centroids).all()


def test_zero_is_not_foreground() -> None:
    assert adaptive_points(np.zeros((L, L), np.float32), valid_cells=(L, L)).branch == "empty"


@pytest.mark.parametrize("fallback", ["foreground", "box"])
def test_one_pixel_falls_back_and_both_points_lie_on_it(fallback: str) -> None:
    result = _run(_mask((5, 9)), fallback=fallback)
    assert result.branch == "fallback"
    assert result.box == (20, 36, 24, 40)
    assert (result.points >= (20, 36)).all()
    assert (result.points <= (24, 40)).all()
    assert np.isnan(result.centroids).all()
    if fallback == "foreground":
        assert result.points.tolist() == [[22, 38], [22, 38]]


def test_one_row_is_cut_in_the_middle_and_its_ends_are_the_points() -> None:
    result = _run(_mask(*((x, 7) for x in range(4, 14))))
    assert result.branch == "clusters"
    assert result.points.tolist() == [[18, 30], [54, 30]]
    assert result.assignment[7, 4:14].tolist() == [1] * 5 + [2] * 5
    assert result.centroids.tolist() == [[26, 30], [46, 30]]


def test_one_column_is_cut_in_the_middle_and_its_ends_are_the_points() -> None:
    result = _run(_mask(*((7, y) for y in range(4, 14))))
    assert result.points.tolist() == [[30, 18], [30, 54]]
    assert result.assignment[4:14, 7].tolist() == [1] * 5 + [2] * 5


def test_the_middle_pixel_of_an_odd_row_goes_to_cluster_1() -> None:
    result = _run(_mask(*((x, 7) for x in range(3))), max_iterations=1)
    assert result.assignment[7, :3].tolist() == [1, 1, 2]


def test_the_middle_pixel_of_an_odd_column_goes_to_cluster_1() -> None:
    result = _run(_mask(*((7, y) for y in range(3))), max_iterations=1)
    assert result.assignment[:3, 7].tolist() == [1, 1, 2]


def test_two_components_are_the_two_clusters() -> None:
    mask = np.zeros((L, L), bool)
    mask[2:6, 3:8] = True
    mask[20:28, 22:30] = True
    result = _run(mask)
    assert (result.assignment[2:6, 3:8] == 1).all()
    assert (result.assignment[20:28, 22:30] == 2).all()
    assert result.points.tolist() == [[14, 10], [118, 110]]


def test_equally_distant_pairs_give_the_one_with_the_smallest_y_then_x() -> None:
    result = _run(_mask((4, 4), (4, 6), (20, 4), (20, 6)))
    assert result.points.tolist() == [[18, 18], [82, 26]]


def test_a_mask_that_fills_the_frame_is_divided() -> None:
    result = _run(np.ones((L, L), bool))
    assert result.branch == "clusters"
    assert result.box == (0, 0, 4 * L, 4 * L)
    counts = [int((result.assignment == cluster).sum()) for cluster in (1, 2)]
    assert sum(counts) == L * L
    assert min(counts) > 0.4 * L * L


def test_padding_cells_are_never_foreground() -> None:
    result = _run(np.ones((L, L), bool), valid=(20, L))
    assert not result.assignment[20:].any()
    assert result.box == (0, 0, 4 * L, 80)
    result = _run(np.ones((L, L), bool), valid=(L, 11))
    assert not result.assignment[:, 11:].any()
    assert (result.points[:, 0] < 44).all()


def test_a_mask_in_the_padding_alone_is_empty() -> None:
    assert _run(_mask((3, 25)), valid=(20, L)).branch == "empty"


@pytest.mark.parametrize(("tau", "branch"), [(39.9, "clusters"), (40, "fallback")])
def test_centroids_must_be_farther_apart_than_tau_model_pixels(tau: float, branch: str) -> None:
    assert _run(_mask((2, 2), (12, 2)), tau=tau).branch == branch


def test_the_fallback_on_the_foreground_draws_pixels_of_the_mask() -> None:
    mask = np.zeros((L, L), bool)
    mask[8:20:3, 5:25:4] = True
    for seed in range(50):
        result = _run(mask, tau=1e9, seed=seed)
        x, y = ((result.points - 2) / 4).astype(int).T
        assert mask[y, x].all()


def test_the_fallback_on_the_box_draws_anywhere_in_it() -> None:
    mask = _mask((5, 5), (20, 25))
    points = np.concatenate(
        [_run(mask, tau=1e9, fallback="box", seed=s).points for s in range(200)]
    )
    assert (points >= (20, 20)).all()
    assert (points <= (84, 104)).all()
    np.testing.assert_allclose(points.mean(axis=0), (52, 62), atol=4)


def test_a_seed_gives_the_same_answer_again_and_another_seed_another() -> None:
    mask = np.ones((L, L), bool)
    answers = [_run(mask, tau=1e9, seed=seed).points for seed in (7, 7, 8)]
    assert np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


def test_draws_follow_splitmix64() -> None:
    # The generator's published first outputs for seed 1234567.
    outputs = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    assert [apg._uniform(1234567, k) for k in range(3)] == [(v >> 11) * 2.0**-53 for v in outputs]


def test_a_smaller_box_restricts_the_foreground() -> None:
    mask = np.zeros((L, L), bool)
    mask[8:24, 8:24] = True
    result = _run(mask, scale_range=(0.5, 0.5))
    assert result.box == (48, 48, 80, 80)
    assert (result.assignment > 0).sum() == 64
    assert (result.assignment[12:20, 12:20] > 0).all()


def test_a_larger_box_is_clipped_to_the_image_and_adds_no_foreground() -> None:
    mask = np.zeros((L, L), bool)
    mask[:10, 2:20] = True
    result = _run(mask, valid=(12, 24), scale_range=(3, 3))
    assert result.box == (0, 0, 96, 48)
    assert np.array_equal(result.assignment > 0, mask)


def test_a_box_between_two_pixels_leaves_nothing() -> None:
    result = _run(_mask((2, 2), (20, 20)), scale_range=(0.5, 0.5))
    assert result.branch == "empty"
    assert len(result.points) == 0


def test_box_scales_are_drawn_from_the_range_by_seed() -> None:
    mask = np.zeros((L, L), bool)
    mask[10:20, 10:20] = True
    boxes = [_run(mask, scale_range=(0.9, 1.1), seed=seed).box for seed in range(100)]
    widths = [(right - left) / 40 for left, _, right, _ in boxes]
    assert 0.9 <= min(widths) < 0.92
    assert 1.08 < max(widths) < 1.1
    assert boxes[3] == _run(mask, scale_range=(0.9, 1.1), seed=3).box


def test_lloyd_stops_after_20_iterations_where_it_would_turn_on() -> None:
    y, x = np.mgrid[:128, :128] - 63.5
    disc = x**2 + (0.9 * y) ** 2 < 26**2  # nearly round: the cut turns slowly, for 82 iterations
    disc[:45, :64] = False
    capped = _run(disc).assignment
    same, more, rested, beyond = (
        _run(disc, max_iterations=cap).assignment for cap in (20, 21, 82, 1000)
    )
    assert np.array_equal(capped, same)
    assert not np.array_equal(capped, more)
    assert np.array_equal(rested, beyond)


def test_the_logits_are_left_as_they_were() -> None:
    logits = np.ones((L, L), np.float32)
    adaptive_points(logits, valid_cells=(10, 10))
    assert (logits == 1).all()


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    mask=hnp.arrays(bool, (16, 16)),
    valid=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    tau=st.sampled_from([0.0, 4.0, 30.0]),
    scale=st.sampled_from([(1.0, 1.0), (0.9, 1.1), (0.2, 3.0)]),
    seed=st.integers(0, 2**64 - 1),
)
def test_points_lie_on_the_mask_inside_the_box(
    mask: NDArray[np.bool_],
    valid: tuple[int, int],
    tau: float,
    scale: tuple[float, float],
    seed: int,
) -> None:
    result = _run(mask, valid=valid, tau=tau, scale_range=scale, seed=seed)
    if result.branch == "empty":
        return
    left, top, right, bottom = result.box
    assert 0 <= left < right <= 4 * valid[1]
    assert 0 <= top < bottom <= 4 * valid[0]
    cells = ((result.points - 2) / 4).astype(int)
    assert mask[cells[:, 1], cells[:, 0]].all()
    assert (result.points >= (left, top)).all()
    assert (result.points <= (right, bottom)).all()
    if result.branch == "clusters":
        assert [result.assignment[y, x] for x, y in cells] == [1, 2]
        assert np.linalg.norm(result.centroids[1] - result.centroids[0]) > tau


def _ramp() -> NDArray[np.float32]:
    """A bar of 20 x 3 cells whose logits are 1 at both ends and 4 in the middle 12."""
    logits = np.full((L, L), -1, np.float32)
    logits[10:13, 5:25] = 1
    logits[10:13, 9:21] = 4
    return logits


@pytest.mark.parametrize(("core", "ends"), [(0.0, (5, 24)), (2.0, (9, 20))])
def test_points_are_looked_for_in_the_core(core: float, ends: tuple[int, int]) -> None:
    found = adaptive_points(_ramp(), valid_cells=(L, L), config=ApgConfig(core=core))
    assert sorted((found.points[:, 0] / 4 - 0.5).tolist()) == list(ends)


def test_a_mask_without_a_core_is_taken_whole() -> None:
    whole = adaptive_points(_ramp(), valid_cells=(L, L))
    found = adaptive_points(_ramp(), valid_cells=(L, L), config=ApgConfig(core=9.0))
    assert np.array_equal(found.points, whole.points)
    nothing = np.full((L, L), -1, np.float32)
    empty = adaptive_points(nothing, valid_cells=(L, L), config=ApgConfig(core=9.0))
    assert empty.branch == "empty"
