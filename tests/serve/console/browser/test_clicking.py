"""What a person clicks and sees."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from selenium.webdriver.common.keys import Keys

from apsam_serve.config import ServeConfig
from apsam_serve.service.background import BackgroundServer
from tests.serve.console.browser.driving import Console, Person

ON_THE_DISC = (58.0, 38.0)
ON_THE_RECTANGLE = (22.0, 24.0)


def answered(person: Person) -> str:
    """The facts of the object in work, once its mask is there."""
    person.wait(lambda: person.text("#state") == "Ready")
    return person.wait(lambda: person.text("#draft-facts"))


def saved(person: Person, count: int) -> list[str]:
    """The names of the objects, once the console has saved so many."""
    person.wait(lambda: len(person.all("#objects > li[data-state=saved]")) == count)
    person.wait(lambda: len(person.all("#objects > li")) == count)
    return [one.text for one in person.all("#objects .name")]


def test_a_click_shows_the_point_then_both_adaptive_points_then_the_mask(person: Person) -> None:
    before = person.pixel(55, 38)
    person.press_button(*ON_THE_DISC)
    red, green, _ = person.pixel(ON_THE_DISC[0] - 0.4, ON_THE_DISC[1] - 0.4)
    assert green > 200 > red, "the mark is there before the button is let go"
    person.let_go()
    assert "2 adaptive points" in answered(person)
    person.wait(lambda: len(person.marks()) == 3)
    assert [part for part, _, _ in person.marks()] == ["point", "adaptive", "mask"]
    assert len({token for _, token, _ in person.marks()}) == 1
    times = [at for _, _, at in person.marks()]
    assert times[0] < times[1] < times[2], "each in a frame of its own"
    assert person.pixel(55, 38) != before, "the mask lies over the picture"
    assert "ms" in person.text("#latency")


def test_a_point_beside_the_object_refines_the_mask_and_can_be_undone(person: Person) -> None:
    person.click(*ON_THE_DISC)
    assert "1 click" in answered(person)
    person.click(66, 44, right=True)
    person.wait(lambda: "2 clicks" in person.text("#draft-facts"))
    answered(person)
    person.press("z")
    person.wait(lambda: "1 click ·" in person.text("#draft-facts"))
    person.press("y")
    person.wait(lambda: "2 clicks" in person.text("#draft-facts"))
    person.press("z", "z")
    person.wait(lambda: not person.text("#draft"))


def test_a_mask_that_cannot_be_refined_any_more_is_said_to_be_gone(person: Person) -> None:
    person.click(*ON_THE_DISC)
    answered(person)
    # The service keeps four masks of a picture; the first is the fifth one now.
    person.module(
        """
        const { segment } = await import("/static/api.js");
        for (const x of [56, 57, 59, 60]) {
          await segment(1, { points: [{ x, y: 38, positive: true }] });
        }
        """
    )
    person.click(66, 44, right=True)
    person.wait(lambda: "Not refined" in person.text("#cards"))
    assert "the mask to refine was gone" in answered(person)


def test_an_encoded_picture_tells_its_time_and_an_answer_all_parts_of_it(person: Person) -> None:
    assert re.fullmatch(r"encoded in [\d.]+ ms", person.text("#latency"))
    person.click(*ON_THE_DISC)
    answered(person)
    parts = r"answer .* ms\s+network .* ms\s+queue .* ms\s+device .* ms\s+console .* ms"
    assert re.fullmatch(parts, person.text("#latency"))


def test_an_accepted_object_is_there_after_a_reload(person: Person) -> None:
    person.drag((44, 24), (74, 54))
    assert "box" in answered(person)
    person.press("c")
    person.wait(lambda: person.all("#categories[open]"))
    person.press("l")
    person.wait(lambda: person.text("#draft-category") == "Gun")
    person.press(Keys.ENTER)
    assert saved(person, 1) == ["1 Gun"]
    person.reload()
    assert saved(person, 1) == ["1 Gun"]
    person.press("j", "x")
    person.wait(lambda: "rejected" in person.text("#objects"))
    saved(person, 1)
    person.press("z")
    person.wait(lambda: "rejected" not in person.text("#objects"))
    saved(person, 1)


def test_undo_takes_an_object_out_of_the_project_and_redo_puts_it_back(person: Person) -> None:
    person.click(*ON_THE_RECTANGLE)
    answered(person)
    person.press(Keys.ENTER)
    saved(person, 1)
    person.press("z")
    assert saved(person, 0) == []
    assert person.text("#draft-facts"), "it is in work again"
    person.press("y")
    saved(person, 1)


def test_the_keyboard_alone_is_enough(person: Person) -> None:
    person.press(*[Keys.ARROW_LEFT] * 4, Keys.SPACE)
    assert "1 click" in answered(person)
    person.press(Keys.ENTER)
    saved(person, 1)
    person.press("b", *[Keys.ARROW_RIGHT] * 20, *[Keys.ARROW_DOWN] * 20, "b")
    assert "box" in answered(person)
    person.press(Keys.ESCAPE, "s")
    person.wait(lambda: person.all("#suggested [aria-current]"))
    person.press(Keys.ENTER)
    saved(person, 2)
    person.press("j", Keys.DELETE)
    person.shifted(Keys.ENTER)
    person.wait(lambda: "done" in person.text("#pictures"))


def test_what_is_accepted_before_its_mask_is_there_is_accepted_with_it(person: Person) -> None:
    person.click(*ON_THE_DISC)
    person.press(Keys.ENTER)
    saved(person, 1)


def test_air_has_no_mask_and_says_so(person: Person) -> None:
    person.click(76, 4)
    person.wait(lambda: "Nothing found there" in person.text("#cards"))
    person.press(Keys.ENTER)
    assert person.all("#objects > li") == []


def test_exports_hold_what_was_accepted(person: Person, tmp_path: Path) -> None:
    person.click(*ON_THE_DISC)
    person.press(Keys.ENTER)
    saved(person, 1)
    person.downloads_to(tmp_path)
    person.shifted("e")
    person.wait(lambda: person.all("#exporting[open]"))
    names = [one.get_attribute("value") for one in person.all("#export-list button")]
    assert names == ["coco", "png", "labelme", "yolo", "dicos", "review"]
    person.all("#export-list button")[0].click()
    path = tmp_path / "apsam-coco.zip"
    person.wait(path.exists)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        document = json.loads(archive.read(next(name for name in names if name.endswith(".json"))))
    assert len(document["annotations"]) == 1


def test_an_object_whose_save_was_not_heard_of_is_saved_once(person: Person) -> None:
    person.script(
        """
        const ask = window.fetch;
        window.fetch = async (path, options) => {
          const answer = await ask(path, options);
          if (options?.method !== "POST" || !path.endsWith("/objects")) return answer;
          window.fetch = ask;
          throw new TypeError("the line is cut");
        };
        """
    )
    person.click(*ON_THE_DISC)
    person.press(Keys.ENTER)
    person.wait(lambda: "does not answer" in person.text("#cards"))
    saved(person, 1)
    person.reload()
    saved(person, 1)


def test_the_page_works_on_when_the_server_is_started_anew(
    someone: Person,
    named_config: ServeConfig,
    open_console: Callable[..., Console],
    bag_file: Path,
) -> None:
    with BackgroundServer(named_config) as first:
        address = first.address
        someone.visit(open_console(address).address)
        someone.all("#files")[0].send_keys(str(bag_file))
        someone.wait(lambda: "held" in someone.text("#lease"))
        someone.click(*ON_THE_DISC)
        answered(someone)
    someone.click(66, 44, right=True)
    someone.wait(lambda: "does not answer" in someone.text("#cards"))
    with BackgroundServer(replace(named_config, listen=address)):
        someone.wait(lambda: "Encoded again" in someone.text("#cards"))
        assert "2 clicks" in answered(someone)
        someone.press(Keys.ENTER)
        saved(someone, 1)
