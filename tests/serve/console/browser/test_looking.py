"""How the picture is looked at, and who can work the page."""

from __future__ import annotations

from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from selenium.webdriver.common.keys import Keys

from tests.serve.console.browser.driving import Person

ON_THE_DISC = (58.0, 38.0)


def view(person: Person, key: str, name: str) -> None:
    person.press(key)
    person.wait(lambda: person.all(f"input[value={name}]:checked"))
    seeing = {"original": ""}.get(name, "shows the original")
    person.wait(lambda: seeing in person.text("#seeing") if seeing else not person.text("#seeing"))


def test_every_view_has_a_key_and_the_original_comes_back_by_its_own(
    person: Person, bag: NDArray[np.uint8]
) -> None:
    original = person.pixel(*ON_THE_DISC)
    assert original == tuple(bag[38, 58]), "the picture's own colours, whatever the screen's"
    keys = {"i": "inverse", "g": "grey", "e": "energy_max", "d": "energy_min"}
    keys |= {"r": "organic", "t": "metal", "h": "heat"}
    seen = {}
    for key, name in keys.items():
        view(person, key, name)
        seen[name] = person.pixel(*ON_THE_DISC)
    assert len(set(seen["grey"])) == 1
    assert seen["energy_max"] == (max(original),) * 3
    assert seen["inverse"] != original
    view(person, "o", "original")
    assert person.pixel(*ON_THE_DISC) == original


def test_holding_the_key_of_the_original_shows_the_untouched_picture(person: Person) -> None:
    place = (ON_THE_DISC[0] + 6, ON_THE_DISC[1])
    untouched = person.pixel(*place)
    person.click(*ON_THE_DISC)
    person.wait(lambda: person.text("#draft-facts"))
    view(person, "i", "inverse")
    assert person.hold("o", lambda: person.pixel(*place)) == untouched
    person.wait(lambda: person.pixel(*place) != untouched)


def test_a_new_picture_begins_in_the_original_view(person: Person) -> None:
    view(person, "i", "inverse")
    person.reload()
    assert person.all("input[value=original]:checked")


def test_masks_can_be_hidden_and_made_fainter(person: Person) -> None:
    place = (ON_THE_DISC[0] + 6, ON_THE_DISC[1])
    untouched = person.pixel(*place)
    person.click(*ON_THE_DISC)
    person.wait(lambda: person.text("#draft-facts"))
    person.wait(lambda: person.pixel(*place) != untouched)
    person.press("m")
    person.wait(lambda: person.pixel(*place) == untouched)
    person.press("m", *"," * 10)
    person.wait(lambda: person.pixel(*place) == untouched)
    assert person.all("#opacity")[0].get_attribute("value") == "0"


def test_the_loupe_shows_what_is_under_the_pointer_beside_it(person: Person) -> None:
    middle = (ON_THE_DISC[0] + 10.3, ON_THE_DISC[1] + 10.3)
    disc, before = person.pixel(*ON_THE_DISC), person.pixel(*middle)
    assert before != disc
    person.press("l")
    person.hover(*ON_THE_DISC)
    person.wait(lambda: person.pixel(*middle) == disc)
    person.press("l")
    person.wait(lambda: person.pixel(*middle) == before)


def test_the_lists_make_room_for_the_picture_and_come_back(person: Person) -> None:
    width = "return document.getElementById('picture').clientWidth"
    beside = person.script(width)
    person.press("w")
    person.wait(lambda: person.script(width) == person.script("return innerWidth"))
    person.press("w")
    person.wait(lambda: person.script(width) == beside)


def test_the_help_lists_every_key_and_typing_is_left_alone(person: Person) -> None:
    person.press("?")
    person.wait(lambda: person.all("#keys[open]"))
    missing = person.module(
        """
        const { table } = await import("/static/keys.js");
        const text = document.getElementById("key-list").textContent;
        return table().flatMap(([, rows]) => rows).filter((row) => !text.includes(row.join("")));
        """
    )
    assert missing == []
    person.all("#keys form button")[0].click()
    person.wait(lambda: not person.all("dialog[open]"))
    person.press("a")
    person.wait(lambda: person.all("#adding[open]"))
    person.all("#pick-files")[0].send_keys("i")
    assert person.all("input[value=original]:checked")


def test_single_keys_can_be_switched_off(person: Person) -> None:
    person.press("?")
    person.wait(lambda: person.all("#keys[open]"))
    person.all("#single-keys")[0].click()
    person.press(Keys.ESCAPE)
    person.wait(lambda: not person.all("dialog[open]"))
    person.press("i")
    person.press(Keys.ARROW_LEFT)
    person.wait(lambda: " x " in person.text("#where"))
    assert person.all("input[value=original]:checked")
    person.script("localStorage.clear()")


def test_everything_that_can_be_worked_has_a_name(person: Person) -> None:
    person.click(*ON_THE_DISC)
    person.wait(lambda: person.text("#draft-facts"))
    for one in person.all("button, input:not([type=file]), canvas#picture"):
        if one.is_displayed():
            assert one.accessible_name.strip(), one.get_attribute("outerHTML")
    said = person.text("#say") or person.script("return document.getElementById('say').textContent")
    assert "2 adaptive points" in said


def test_the_page_asks_nobody_but_its_own_console(person: Person) -> None:
    asked = person.script("return performance.getEntriesByType('resource').map((one) => one.name)")
    own = urlsplit(person.driver.current_url).netloc
    assert len(asked) > 10
    assert {urlsplit(one).netloc for one in asked if not one.startswith("blob:")} == {own}


def test_nothing_is_cut_off_on_a_small_screen(person: Person) -> None:
    person.click(*ON_THE_DISC)
    person.wait(lambda: person.text("#draft-facts"))
    cut = person.script(
        """
        return [...document.querySelectorAll("button, kbd, h2, .latency, #server")]
          .filter((one) => one.offsetParent && !one.closest("dialog"))
          .filter((one) => {
            const { left, right, top, bottom } = one.getBoundingClientRect();
            return left < 0 || top < 0 || right > innerWidth || bottom > innerHeight;
          }).map((one) => one.outerHTML);
        """
    )
    assert cut == []
