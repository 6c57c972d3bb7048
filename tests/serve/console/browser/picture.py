"""`python -m tests.serve.console.browser.picture`: the console at work, as a picture for readers.

A synthetic bag is shown, and its objects are clicked on in turn, each at its innermost pixel; all
but the last are accepted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from selenium.webdriver.common.keys import Keys

from apsam_serve.config import ServeConfig
from apsam_serve.service.background import BackgroundServer
from apsam_train.synth.generator import SynthConfig, generate
from tests.serve.console.browser.driving import Console, Person, chromium
from tests.serve.console.browsing import settings_for


def innermost(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """(x, y) of the pixel of a mask bool [H, W] that is farthest from its border."""
    depth = cv2.distanceTransform(
        np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(x) - 0.5, float(y) - 0.5


def work(person: Person, places: Sequence[tuple[float, float]]) -> None:
    """Click on each, accept all but the last."""
    for number, place in enumerate(places, 1):
        person.click(*place)
        person.wait(lambda: person.text("#state") == "Ready" and person.text("#draft-facts"))
        if number < len(places) and person.all("#draft .main:enabled"):
            person.press(Keys.ENTER)
            person.wait(lambda: not person.text("#draft"))
        elif number < len(places):
            person.press(Keys.ESCAPE)
    person.wait(lambda: not person.all("#objects > li:not([data-state=saved])"))
    person.pixel(*places[-1])  # the mask has come up when two frames have passed


def main(argv: Sequence[str] | None = None) -> None:
    """Writes a PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="what answers the clicks")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--seed", type=int, default=1, help="of the bag (%(default)s)")
    parser.add_argument("--palette", default="hixray", help="of the bag (%(default)s)")
    parser.add_argument("--width", type=int, default=1366, help="in pixels (%(default)s)")
    parser.add_argument("--height", type=int, default=768, help="in pixels (%(default)s)")
    options = parser.parse_args(argv)
    config = SynthConfig(palettes=(options.palette,), num_instances=(2, 3), clutter=0.5)
    bag = generate(seed=options.seed, index=0, config=config)
    driver = chromium(options.width, options.height)
    serving = ServeConfig(bundle=options.bundle, listen="127.0.0.1:0")
    try:
        with tempfile.TemporaryDirectory() as name, BackgroundServer(serving) as server:
            file = Path(name, "bag.png")
            cv2.imwrite(str(file), cv2.cvtColor(bag.rgb, cv2.COLOR_RGB2BGR))
            console = Console(settings_for(server.address, Path(name), port=0))
            try:
                person = Person(driver, (bag.rgb.shape[1], bag.rgb.shape[0]))
                person.visit(console.address)
                person.all("#files")[0].send_keys(str(file))
                person.wait(lambda: "held" in person.text("#lease"))
                work(person, [innermost(one.mask) for one in bag.instances])
                options.out.parent.mkdir(parents=True, exist_ok=True)
                driver.save_screenshot(str(options.out))
            finally:
                console.close()
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
