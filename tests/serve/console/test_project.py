"""What is answered as saved is saved: through changes, threads, two consoles and a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.console.project import DATABASE, Project
from apsam_serve.console.rows import NewObject
from apsam_serve.contract.categories import CATEGORIES, SUPERCLASS
from apsam_serve.contract.masks import Rle
from apsam_serve.contract.prompts import Box
from apsam_serve.errors import (
    InvalidImageError,
    InvalidInputError,
    NotInProjectError,
    ProjectError,
)
from apsam_train import categories
from tests.serve.console.filled import HEIGHT, WIDTH, add_picture, block, new_object, picture

SAVING = """
import sys
from pathlib import Path
from apsam_serve.console.project import Project
from tests.serve.console.filled import add_picture, block, new_object
project = Project.open(Path(sys.argv[1]))
image = add_picture(project, "bag.png")
for number in range(10_000):
    saved = project.save_object(image.id, new_object(block(number % 60, 0, 64, 48)))
    if number % 3 == 1:
        project.change_object(saved.id, category="Bullet")
    if number % 3 == 2:
        project.remove_object(saved.id)
    print(saved.id, number, flush=True)
"""


def test_the_thirty_names_are_those_of_training() -> None:
    assert categories.CATEGORIES == CATEGORIES
    assert categories.SUPERCLASS == SUPERCLASS


def test_an_object_comes_back_as_it_was_saved_after_the_project_is_opened_again(
    tmp_path: Path,
) -> None:
    prompt = {"points": [{"x": 5.5, "y": 6.5, "positive": True}], "strategy": "apg"}
    new = new_object(block(4, 5, 24, 20), prompt=prompt, model_digest="ab" * 32, round=3)
    with Project.open(tmp_path) as project:
        image = add_picture(project, "lane 1/bag.png")
        saved = project.save_object(image.id, new)
    assert (saved.box, saved.area) == (Box(left=4, top=5, right=24, bottom=20), 300)
    assert (saved.mask, saved.category, saved.score) == (new.mask, "Gun", 0.9)
    assert (saved.prompt, saved.model_digest, saved.round) == (prompt, "ab" * 32, 3)
    with Project.open(tmp_path) as project:
        assert project.objects(image.id) == [saved] == [project.object(saved.id)]
        assert project.image(image.id).num_objects == 1
        assert project.file_of(image).read_bytes() == picture()
    assert saved.document()["mask"] == {"size": [HEIGHT, WIDTH], "counts": new.mask.counts}


def test_the_history_keeps_every_state_even_of_what_was_removed(tmp_path: Path) -> None:
    with Project.open(tmp_path) as project:
        image = add_picture(project, "bag.png")
        first = project.save_object(image.id, new_object())
        wider = new_object(block(4, 4, 40, 20)).mask
        changed = project.change_object(first.id, mask=wider, verdict="corrected", reviewer="Bo")
        assert (changed.area, changed.box.right, changed.category) == (36 * 16, 40, "Gun")
        assert changed.created == first.created
        project.remove_object(first.id)
        assert project.objects(image.id) == []
        second = project.save_object(image.id, new_object())
        assert second.id > first.id
        steps = project.history(image.id)
    assert [(s.object_id, s.action) for s in steps] == [
        (first.id, "saved"), (first.id, "changed"), (first.id, "removed"), (second.id, "saved"),
    ]  # fmt: skip
    assert [s.state["area"] for s in steps] == [320, 576, 576, 320]
    assert steps[2].state == changed.document()


def test_the_same_bytes_are_the_same_image_and_another_one_of_that_name_gets_a_number(
    tmp_path: Path,
) -> None:
    with Project.open(tmp_path) as project:
        first = add_picture(project, "a/bag.png")
        assert add_picture(project, "elsewhere/other.png") == first
        names = [add_picture(project, name, 10 + n).name for n, name in enumerate(
            ("a/bag.png", "A/Bag.PNG", "../..\\a//./bag.png")
        )]  # fmt: skip
        assert names == ["a/bag (2).png", "A/Bag (3).PNG", "a/bag (4).png"]
        assert len(project.images()) == 4
    assert len(list((tmp_path / "images").iterdir())) == 4


def test_an_image_is_done_in_a_round_by_a_person_and_can_be_opened_again(tmp_path: Path) -> None:
    with Project.open(tmp_path) as project:
        image = add_picture(project, "bag.png")
        assert (image.status, image.reviewer, image.round) == ("open", "", 0)
        done = project.set_status(image.id, "done", reviewer="Ada", round=2)
        assert (done.status, done.reviewer, done.round) == ("done", "Ada", 2)
        again = project.set_status(image.id, "open", reviewer="Ada", round=2)
        assert (again.status, again.reviewer, again.round) == ("open", "", 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"category": "Toothbrush"}, "'Toothbrush' is none of the 30"),
        ({"score": float("nan")}, r"score nan must lie in \[0, 1\]"),
        ({"source": "guess"}, "source 'guess' must be one of click, proposal, imported"),
        ({"verdict": "maybe"}, "verdict 'maybe' must be one of"),
        ({"reviewer": "A\nB"}, "must be a name"),
        ({"round": -1}, "round -1"),
        ({"model_digest": "\ud800"}, "model_digest"),
        ({"mask": Rle(height=HEIGHT, width=WIDTH, counts="\ud800")}, "foreign character"),
        ({"prompt": {"x": float("inf")}}, "prompt is no JSON"),
        ({"prompt": {"x": "y" * 2**16}}, "send at most 65536"),
        ({"mask": Rle(height=HEIGHT, width=WIDTH, counts="11")}, "add up to"),
        ({"mask": Rle(height=1, width=2, counts="11")}, "2 x 1 pixels"),
        ({"mask": new_object(block(0, 0, 0, 0)).mask}, "mask has no pixel"),
    ],
)
def test_what_cannot_be_an_object_is_neither_saved_nor_changed(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with Project.open(tmp_path) as project:
        image = add_picture(project, "bag.png")
        saved = project.save_object(image.id, new_object())
        with pytest.raises(InvalidInputError, match=message):
            project.change_object(saved.id, **fields)
        values = {name: getattr(saved, name) for name in ("mask", "category")} | fields
        with pytest.raises(InvalidInputError, match=message):
            project.save_object(image.id, NewObject(**values))
        with pytest.raises(InvalidInputError, match="area cannot be changed"):
            project.change_object(saved.id, area=7)
        assert project.objects(image.id) == [saved]
        assert len(project.history(image.id)) == 1


def test_ids_the_project_never_gave_are_refused(tmp_path: Path) -> None:
    with Project.open(tmp_path) as project:
        calls = [
            lambda: project.image(7),
            lambda: project.objects(7),
            lambda: project.history(7),
            lambda: project.set_status(7, "done"),
            lambda: project.save_object(7, new_object()),
        ]
        for call in calls:
            with pytest.raises(NotInProjectError, match="no image 7"):
                call()
        with pytest.raises(NotInProjectError, match="no such id"):
            project.image(2**70)
        for change in (project.object, project.change_object, project.remove_object):
            with pytest.raises(NotInProjectError, match="no object 9"):
                change(9)


@pytest.mark.parametrize("name", ["", "..", "a\x00b.png", "x" * 300])
def test_a_name_that_is_none_is_refused_before_a_byte_is_kept(tmp_path: Path, name: str) -> None:
    with Project.open(tmp_path) as project:
        with pytest.raises(InvalidInputError, match="printable characters"):
            project.add_image(name, picture(), height=HEIGHT, width=WIDTH, sha256="ab" * 32)
        with pytest.raises(InvalidImageError):
            project.add_image("bag.png", b"GIF89a", height=1, width=1, sha256="ab" * 32)
        assert project.images() == []
    assert list((tmp_path / "images").iterdir()) == []


def _not_sqlite(file: Path) -> None:
    file.write_bytes(b"no database at all " * 100)


def _foreign(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE birds (name TEXT)")
    db.close()


def _newer(file: Path) -> None:
    Project.open(file.parent).close()
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_not_sqlite, "is no project"),
        (_foreign, "another program's database"),
        (_newer, "of format 99; this release reads format 1"),
    ],
)
def test_a_file_that_is_no_project_of_this_release_is_left_alone(
    tmp_path: Path, write: Any, message: str
) -> None:
    write(tmp_path / DATABASE)
    with pytest.raises(ProjectError, match=message):
        Project.open(tmp_path)
    if write is not _newer:
        assert b"objects" not in (tmp_path / DATABASE).read_bytes()


def test_a_closed_project_says_so(tmp_path: Path) -> None:
    project = Project.open(tmp_path)
    project.close()
    with pytest.raises(ProjectError, match="nothing was saved"):
        project.images()


def test_a_full_disk_is_an_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    with Project.open(tmp_path) as project:
        image = add_picture(project, "bag.png")
        saved = project.save_object(image.id, new_object())
        project._db.execute("PRAGMA max_page_count = 1")
        large = new_object(prompt={"note": "x" * 2**15})
        with pytest.raises(ProjectError, match=r"full\); nothing was saved"):
            project.save_object(image.id, large)
        assert project.objects(image.id) == [saved]
        project._db.execute("PRAGMA max_page_count = 100000")
        project.save_object(image.id, large)
        assert [step.action for step in project.history(image.id)] == ["saved", "saved"]


def test_threads_and_two_open_projects_lose_no_object(tmp_path: Path) -> None:
    with Project.open(tmp_path) as one, Project.open(tmp_path) as other:
        image = add_picture(one, "bag.png")
        with ThreadPoolExecutor(8) as pool:
            saved = list(
                pool.map(
                    lambda n: (one, other)[n % 2].save_object(image.id, new_object()), range(40)
                )
            )
        assert {o.id for o in one.objects(image.id)} == {o.id for o in saved}
        assert len(saved) == len(other.history(image.id)) == 40


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", SAVING, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    with writer, writer.stdout as lines:
        answered = [lines.readline() for _ in range(60)]
        writer.send_signal(signal.SIGKILL)
        answered += [line for line in lines if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    with Project.open(tmp_path) as project:
        (image,) = project.images()
        kept = {one.id: one for one in project.objects(image.id)}
        for line in answered:
            number_id, number = map(int, line.split())
            assert (number_id in kept) == (number % 3 != 2)
            if number % 3 != 2:
                assert kept[number_id].box.left == number % 60
                assert kept[number_id].category == ("Gun", "Bullet")[number % 3]
        assert len(project.history(image.id)) >= len(answered)
        assert project._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
