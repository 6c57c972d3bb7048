"""Pictures on their way into the project."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from selenium.webdriver.common.keys import Keys

from apsam_serve.service.background import BackgroundServer
from tests.serve.console.browser.driving import Console, Person


def test_a_file_that_is_no_picture_is_listed_with_the_reason(
    person: Person, tmp_path: Path
) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    person.all("#files")[0].send_keys(str(tmp_path / "notes.png"))
    assert "notes.png: " in person.wait(lambda: person.text("#refused"))
    assert len(person.all("#pictures > li")) == 1
    assert len(person.complaints()) == 1, "the refusal itself"


def test_a_folder_of_the_consoles_machine_is_imported_and_told_of(
    someone: Person,
    named_server: BackgroundServer,
    open_console: Callable[..., Console],
    bag_file: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "bags" / "monday"
    folder.mkdir(parents=True)
    shutil.copy(bag_file, folder / "bag.png")
    (folder / "broken.png").write_text("no picture")
    someone.visit(open_console(named_server.address, images=tmp_path / "bags").address)
    assert "Open an X-ray picture" in someone.text("#empty")
    someone.press("a")
    someone.wait(lambda: someone.all("#adding[open]"))
    someone.all("#path")[0].send_keys("monday", Keys.ENTER)
    assert "broken.png: " in someone.wait(lambda: someone.text("#refused"))
    assert "1 of 2 added, 1 refused" in someone.text("#import-text")
    someone.wait(lambda: len(someone.all("#pictures > li")) == 1)


def test_objects_of_a_coco_file_join_those_in_work_and_undo_stays(
    someone: Person,
    named_server: BackgroundServer,
    open_console: Callable[..., Console],
    bag_file: Path,
    tmp_path: Path,
) -> None:
    ring = [4, 4, 24, 4, 24, 20, 4, 20]
    image = {"id": 1, "file_name": bag_file.name, "width": 80, "height": 60}
    document = {
        "images": [image],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [ring]}],
        "categories": [{"id": 1, "name": "Gun"}],
    }
    (tmp_path / "found.json").write_text(json.dumps(document))
    someone.visit(open_console(named_server.address, images=tmp_path).address)
    someone.all("#files")[0].send_keys(str(bag_file))
    someone.wait(lambda: "held" in someone.text("#lease"))
    someone.click(58, 38)
    someone.press(Keys.ENTER)
    someone.wait(lambda: someone.all("#objects > li[data-state=saved]"))
    for told in ("1 object added", "0 objects added, 1 known already"):
        someone.press("a")
        someone.wait(lambda: someone.all("#adding[open]"))
        someone.all("#path")[0].clear()
        someone.all("#path")[0].send_keys("found.json", Keys.ENTER)
        someone.wait(lambda told=told: told in someone.text("#cards"))  # type: ignore[misc]
        assert "2 objects" in someone.text("#pictures")
    assert [one.text for one in someone.all("#objects .name")][1:] == ["2 Gun"]
    someone.press("z")
    someone.wait(lambda: [one.text for one in someone.all("#objects .name")] == ["1 Gun"])
    someone.wait(lambda: "1 object" in someone.text("#pictures"))
    someone.reload()
    assert [one.text for one in someone.all("#objects .name")] == ["1 Gun"]


def test_a_folder_elsewhere_is_refused_in_words(
    someone: Person,
    named_server: BackgroundServer,
    open_console: Callable[..., Console],
    tmp_path: Path,
) -> None:
    someone.visit(open_console(named_server.address, images=tmp_path).address)
    someone.press("a")
    someone.wait(lambda: someone.all("#adding[open]"))
    someone.all("#path")[0].send_keys("../..", Keys.ENTER)
    assert "below" in someone.wait(lambda: someone.text("#import-text"))


def test_keys_go_from_picture_to_picture_and_the_next_is_encoded_ahead(
    person: Person, tmp_path: Path, bag: NDArray[np.uint8]
) -> None:
    cv2.imwrite(str(tmp_path / "second.png"), bag[::-1])
    person.all("#files")[0].send_keys(str(tmp_path / "second.png"))
    person.wait(lambda: "second.png" in person.text("#pictures [aria-current]"))
    person.press(Keys.PAGE_UP)
    person.wait(lambda: "bag 1.png" in person.text("#pictures [aria-current]"))
    person.reload()
    asked = "return performance.getEntriesByType('resource').map((one) => one.name).join(' ')"
    person.wait(lambda: "/api/images/2/open" in person.script(asked))
    person.press(Keys.PAGE_DOWN)
    person.wait(lambda: "second.png" in person.text("#pictures [aria-current]"))
