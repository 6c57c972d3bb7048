"""A person before the console, in a real Chromium."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from apsam_serve.console.app import Settings, serving

CHROMIUM = shutil.which("chromium") or ""
DRIVER = shutil.which("chromedriver") or ""
_PATIENCE_S = 10.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
)
# Where a picture point lies in the window, while the whole picture is seen.
_PLACE = """
const [x, y, width, height, done] = arguments;
import("/static/viewport.js").then(({ fit, toScreen }) => {
  const stage = document.getElementById("picture").getBoundingClientRect();
  const at = toScreen(fit({ width, height }, stage), { x, y });
  done([stage.left + at.x, stage.top + at.y]);
});
"""
_MARKS = """
return performance.getEntriesByType("mark")
  .map(({ name, startTime }) => [...name.split(":"), startTime])
  .filter(([owner]) => owner === "apsam").map(([, part, token, at]) => [part, token, at]);
"""
_PIXEL = """
const [x, y] = arguments;
const canvas = document.getElementById("picture");
const stage = canvas.getBoundingClientRect();
const at = [(x - stage.left) * devicePixelRatio, (y - stage.top) * devicePixelRatio];
return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
"""
_FRAME = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
T = TypeVar("T")


def chromium(width: int = 1366, height: int = 768) -> webdriver.Chrome:
    """A headless Chromium whose page has that size in pixels; asks nobody but the console."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    return driver


class Console:
    """A console on a thread of its own, over a server that may come and go."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="apsam-console")
        self._thread.start()
        self._served = serving(settings)
        try:
            self.address = self._run(self._served.__aenter__())
        except BaseException:
            self._stop()
            raise

    def close(self) -> None:
        self._run(self._served.__aexit__(None, None, None))
        self._stop()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Person:
    """Sees the page and works with it. Places are pixels of the picture, `size` (width, height)."""

    def __init__(self, driver: webdriver.Chrome, size: tuple[int, int]) -> None:
        self.driver = driver
        self.size = size

    def visit(self, address: str) -> None:
        self.driver.get(address)
        self.wait(lambda: self.script("return document.body.dataset.started") == "yes")

    def reload(self) -> None:
        self.driver.refresh()
        self.wait(lambda: self.script("return document.body.dataset.started") == "yes")

    def downloads_to(self, folder: Path) -> None:
        told = {"behavior": "allow", "downloadPath": str(folder)}
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", told)

    def script(self, text: str, *values: object) -> Any:
        return self.driver.execute_script(text, *values)

    def module(self, text: str, *values: object) -> Any:
        """What an expression gives that imports the page's modules: `await import(...)`."""
        whole = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...given) => {{ {text} }})(...arguments)"
            ".then((value) => done([value, null]), (error) => done([null, String(error)]));"
        )
        value, error = self.driver.execute_async_script(whole, *values)
        assert error is None, error
        return value

    def wait(self, see: Callable[[], T]) -> T:
        """What is seen once it is true. Fails after a while."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                seen = see()
            except StaleElementReferenceException:  # drawn anew meanwhile
                seen = None
            if seen:
                return seen
            assert time.monotonic() < end, f"not seen: {self.text('body')[-600:]!r}"
            time.sleep(0.02)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return "\n".join(one.text for one in self.all(selector))

    def press(self, *keys: str) -> None:
        """One after the other, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def hold(self, key: str, work: Callable[[], T]) -> T:
        ActionChains(self.driver).key_down(key).perform()
        seen = work()
        ActionChains(self.driver).key_up(key).perform()
        return seen

    def shifted(self, key: str) -> None:
        chain = ActionChains(self.driver).key_down(Keys.SHIFT).send_keys(key)
        chain.key_up(Keys.SHIFT).perform()

    def click(self, x: float, y: float, *, right: bool = False) -> None:
        chain = self._at(x, y)
        pointer = chain.w3c_actions.pointer_action
        if right:
            pointer.context_click()
        else:
            pointer.click()
        chain.perform()

    def hover(self, x: float, y: float) -> None:
        self._at(x, y).perform()

    def press_button(self, x: float, y: float) -> None:
        """The left one, without letting it go."""
        chain = self._at(x, y)
        chain.w3c_actions.pointer_action.pointer_down()
        chain.perform()

    def let_go(self) -> None:
        chain = ActionChains(self.driver, duration=0)
        chain.w3c_actions.pointer_action.pointer_up()
        chain.perform()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.press_button(*start)
        self._at((start[0] + end[0]) / 2, (start[1] + end[1]) / 2).perform()
        self._at(*end).perform()
        self.let_go()

    def pixel(self, x: float, y: float) -> tuple[int, int, int]:
        """What the next frame shows there: red, green, blue."""
        place = self._place(x, y)
        self.driver.execute_async_script(_FRAME)
        red, green, blue = self.script(_PIXEL, *place)
        return red, green, blue

    def marks(self) -> list[tuple[str, str, float]]:
        """(what, question, milliseconds): when it was first on the stage."""
        return [(part, token, at) for part, token, at in self.script(_MARKS)]

    def complaints(self) -> list[str]:
        """Errors that the browser has logged since it was asked last, broken policies too."""
        logged = self.driver.get_log("browser")
        return [entry["message"] for entry in logged if entry["level"] == "SEVERE"]

    def _place(self, x: float, y: float) -> tuple[int, int]:
        left, top = self.driver.execute_async_script(_PLACE, x, y, *self.size)
        return int(left), int(top)

    def _at(self, x: float, y: float) -> ActionChains:
        chain = ActionChains(self.driver, duration=0)
        chain.w3c_actions.pointer_action.move_to_location(*self._place(x, y))
        return chain
