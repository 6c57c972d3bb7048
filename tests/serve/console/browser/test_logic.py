"""The page's pure modules, asked in the browser that runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from selenium import webdriver

from apsam_serve.console.rows import rle_document
from apsam_serve.contract.masks import encode_rle, mask_iou
from tests.serve.console.browser.driving import Console, Person
from tests.serve.console.browsing import settings_for

DOCUMENT = Path(__file__).parents[4] / "docs/console.md"


@pytest.fixture(scope="module")
def masks() -> list[NDArray[np.bool_]]:
    """Bool [H, W] each: none, all, a corner, a ring, touching corners, noise, long runs."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:60, :90]
    distance = np.hypot(y - 30, x - 45)
    corner = np.zeros((60, 90), bool)
    corner[-1, -1] = True
    return [
        np.zeros((60, 90), bool),
        np.ones((60, 90), bool),
        corner,
        (distance < 25) & (distance > 12),
        np.eye(60, 90, dtype=bool) | np.eye(60, 90, 1, dtype=bool)[::-1],
        rng.random((60, 90)) < 0.4,
        np.repeat(rng.random((1, 3)) < 0.5, 300, axis=0).repeat(200, axis=1),
    ]


@pytest.fixture(scope="module")
def modules(driver: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Before an empty console whose service is away: modules are all it is asked for."""
    console = Console(settings_for("127.0.0.1:1", tmp_path_factory.mktemp("console"), port=0))
    person = Person(driver, (1, 1))
    person.visit(console.address)
    yield person
    console.close()


def test_masks_are_decoded_as_they_were_encoded(
    modules: Person, masks: list[NDArray[np.bool_]]
) -> None:
    for mask in masks:
        found: dict[str, Any] = modules.module(
            """
            const { decode } = await import("/static/rle.js");
            const { bits, ...rest } = decode(given[0]);
            return { ...rest, bits: [...bits] };
            """,
            rle_document(encode_rle(mask)),
        )
        seen = np.zeros(mask.shape, bool)
        box = slice(found["top"], found["bottom"]), slice(found["left"], found["right"])
        seen[box] = np.reshape(found["bits"], seen[box].shape)
        assert (seen == mask).all()
        assert found["area"] == mask.sum()
        if mask.any():
            edges = [seen[box][0], seen[box][-1], seen[box][:, 0], seen[box][:, -1]]
            assert all(edge.any() for edge in edges), "the box is tight"


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ("a", "cut off"),
        ("\x7f", "foreign"),
        ("54", "add up"),
        ("09999", "add up"),
        ("O1", "run of"),
    ],
)
def test_damaged_masks_are_refused(modules: Person, counts: str, complaint: str) -> None:
    told = modules.module(
        """
        const { decode } = await import("/static/rle.js");
        try { return JSON.stringify(decode({ size: [2, 3], counts: given[0] })); }
        catch (error) { return error.message; }
        """,
        counts,
    )
    assert complaint in told


def test_overlaps_are_those_of_the_package(modules: Person, masks: list[NDArray[np.bool_]]) -> None:
    small = [mask for mask in masks if mask.shape == (60, 90)]
    found = modules.module(
        """
        const { decode, iou } = await import("/static/rle.js");
        const all = given[0].map(decode);
        return all.map((one) => all.map((other) => iou(one, other)));
        """,
        [rle_document(encode_rle(mask)) for mask in small],
    )
    expected = [[mask_iou(one, other) for other in small] for one in small]
    np.testing.assert_allclose(found, expected)


def test_outlines_enclose_exactly_the_mask(modules: Person, masks: list[NDArray[np.bool_]]) -> None:
    """Crossings of a row's middle with the rings, counted from the left, give the mask back."""
    for mask in masks:
        rings = modules.module(
            """
            const { decode } = await import("/static/rle.js");
            const { rings } = await import("/static/outline.js");
            return rings(decode(given[0]));
            """,
            rle_document(encode_rle(mask)),
        )
        crossings = np.zeros((mask.shape[0], mask.shape[1] + 1), int)
        for ring in rings:
            corners = np.reshape(ring, (-1, 2))
            for (x, y), (_, below) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                crossings[min(y, below) : max(y, below), x] += 1
        inside = np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1
        assert (inside == mask).all()


def test_undo_and_redo_walk_the_steps_and_a_new_step_forgets_the_undone(modules: Person) -> None:
    walked = modules.module(
        """
        const state = await import("/static/state.js");
        const point = (x) => ({ x, y: 1, positive: true });
        const clicks = (history) => (history.present.draft?.points ?? []).map(({ x }) => x);
        let history = state.begin();
        const seen = [clicks(state.undo(history))];
        for (const x of [1, 2, 3]) {
          history = state.step(history, state.withPoint(history.present, point(x)));
        }
        seen.push(clicks(history));
        history = state.undo(state.undo(history));
        seen.push(clicks(history), clicks(state.redo(history)));
        history = state.step(history, state.withPoint(history.present, point(4)));
        seen.push(clicks(history), clicks(state.redo(history)));
        return seen;
        """
    )
    assert walked == [[], [1, 2, 3], [1], [1, 2], [1, 4], [1, 4]]


def test_an_answer_finds_its_question_after_an_undo(modules: Person) -> None:
    found = modules.module(
        """
        const state = await import("/static/state.js");
        const point = { x: 1, y: 1, positive: true };
        let history = state.begin();
        history = state.step(history, state.withPoint(history.present, point));
        const { token } = history.present.draft;
        const answer = { token, mask_id: "m1", category: "Gun", branch: "clusters", points: [] };
        history = state.answered(state.undo(history), token, answer);
        const before = history.present.draft;
        history = state.redo(history);
        const known = state.isAnswered(history.present.draft);
        const refined = state.withPoint(history.present, point).draft;
        return [before, known, history.present.draft.category, refined.refines,
          state.isAnswered(refined), state.withPoint({ ...history.present, draft: refined },
          point).draft.refines];
        """
    )
    assert found == [None, True, "Gun", "m1", False, "m1"]


def test_a_category_that_was_chosen_outlives_the_next_answer(modules: Person) -> None:
    chosen = modules.module(
        """
        const state = await import("/static/state.js");
        const point = { x: 1, y: 1, positive: true };
        let history = state.begin(state.withPoint(state.NOTHING, point));
        history = state.step(history, state.withCategory(history.present, "Dart"));
        const { token } = history.present.draft;
        return state.answered(history, token, { token, category: "Gun" }).present.draft.category;
        """
    )
    assert chosen == "Dart"


@pytest.mark.parametrize(
    ("source", "points", "category", "verdict"),
    [
        ("click", 1, "Gun", "accepted"),
        ("click", 3, "Dart", "accepted"),
        ("proposal", 1, "Gun", "accepted"),
        ("proposal", 2, "Gun", "corrected"),
        ("proposal", 1, "Dart", "corrected"),
    ],
)
def test_a_proposal_that_needed_work_counts_as_corrected(
    modules: Person, source: str, points: int, category: str, verdict: str
) -> None:
    found = modules.module(
        """
        const { accepted } = await import("/static/state.js");
        const [source, count, category] = given;
        const answer = { mask: null, score: 0.9, branch: "direct", points: [], category: "Gun" };
        const draft = { source, points: Array(count).fill({}), box: null, category, answer };
        return accepted({ draft, objects: [] }, "apg").objects[0].verdict;
        """,
        source,
        points,
        category,
    )
    assert found == verdict


def test_the_project_is_told_the_difference_alone(modules: Person) -> None:
    steps = modules.module(
        """
        const { difference } = await import("/static/state.js");
        const one = (key, category, verdict = "accepted") => ({ key, category, verdict });
        const held = new Map([one("a", "Gun"), one("b", "Gun"), one("c", "Gun")]
          .map((object) => [object.key, object]));
        const wanted = [one("a", "Gun"), one("b", "Dart"), one("d", null)];
        return difference(held, wanted).map(({ kind, object }) => [kind, object.key]);
        """
    )
    assert steps == [["remove", "c"], ["change", "b"], ["add", "d"]]


def test_the_documents_table_of_keys_is_the_pages(modules: Person) -> None:
    groups = modules.module('return (await import("/static/keys.js")).table();')
    told = "\n".join(
        f"| {title if first else ''} | {key} | {text} |"
        for title, rows in groups
        for first, (key, text) in zip([True] + [False] * len(rows), rows, strict=False)
    )
    assert f"\n{told}\n" in DOCUMENT.read_text(), f"docs/console.md should have:\n{told}"


def test_zooming_holds_the_place_under_the_pointer(modules: Person) -> None:
    before, after, scale = modules.module(
        """
        const { fit, toPicture, zoom } = await import("/static/viewport.js");
        const view = fit({ width: 800, height: 600 }, { width: 1000, height: 700 });
        const at = { x: 120, y: 340 };
        const closer = zoom(view, 3, at, 0.1);
        return [toPicture(view, at), toPicture(closer, at), closer.scale / view.scale];
        """
    )
    assert before == pytest.approx(after)
    assert scale == pytest.approx(3)
