"""Click, refine, next image over one stream, scripted: steps come from standard input as JSON
lines, and each is answered with a JSON line in the same order.

  {"image": "bag.png"}                       encode; it becomes the current image
  {"click": [[x, y], ...], "negative": [[x, y], ...], "box": [left, top, right, bottom]}
  {"click": [[x, y]], "refine": true}        refine the last mask: its points and box are kept
  {"propose": {"max_proposals": 16}}         find objects; also min_score and max_overlap

Clicks and proposals take "strategy": "direct" too. With IMAGE arguments the steps, which then name
no image, are done for each of them in turn. An answer holds "step", counted from 0; a step that
fails holds "error" with reason and message, and the session goes on. The exit code is 1 when any
step failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from apsam_serve.client import Client, ProposeOptions, Session
from apsam_serve.client_cli.documents import proposal_document, segmentation_document
from apsam_serve.client_cli.result import Result
from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.errors import ApsamError, InvalidInputError

Json = dict[str, Any]
_KEYS = {
    "image": {"image"},
    "click": {"click", "negative", "box", "refine", "strategy"},
    "propose": {"propose", "strategy"},
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    parser.add_argument("image", type=Path, nargs="*", help="do the steps for each of these")
    parser.set_defaults(json=True)


def run(client: Client, options: argparse.Namespace) -> Result:
    """Answers every line; raises nothing for a step that fails."""
    num_failed = 0
    with client.session() as session:
        script = Script(session)
        for number, line in enumerate(_lines(options.image)):
            try:
                answer = script.answer(line)
            except ApsamError as error:
                num_failed += 1
                answer = {"error": {"reason": error.reason, "message": str(error)}}
            print(json.dumps({"step": number, **answer}), flush=True)
    return Result(document=None, code=1 if num_failed else 0)


def _lines(images: list[Path]) -> Iterator[str]:
    """Standard input, or all of it after each image."""
    given = (line for line in sys.stdin if line.strip())
    if not images:
        yield from given
        return
    steps = list(given)
    for image in images:
        yield json.dumps({"image": str(image)})
        yield from steps


class Script:
    """Steps as JSON, and what a refinement refers to: the last prompt and its mask."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last = Prompt()

    def answer(self, line: str) -> Json:
        """Do one step. Raises ApsamError."""
        step = _parsed(line)
        if "image" in step:
            return self._image(step)
        if "propose" in step:
            return self._propose(step)
        return self._click(step)

    def _image(self, step: Json) -> Json:
        self._last = Prompt()
        held = self._session.image(Path(str(step["image"])))
        return {"image": str(step["image"]), "width": held.width, "height": held.height}

    def _propose(self, step: Json) -> Json:
        try:
            options = ProposeOptions(**step["propose"])
        except TypeError as error:
            raise InvalidInputError(
                f"propose {step['propose']} is no set of options; give max_proposals, min_score or "
                "max_overlap"
            ) from error
        found = self._session.propose(options, strategy=_strategy(step))
        return {"proposals": [proposal_document(one) for one in found]}

    def _click(self, step: Json) -> Json:
        prompt = self._prompt(step)
        (answer,) = self._session.segment([prompt], strategy=_strategy(step))
        self._last = Prompt(points=prompt.points, box=prompt.box, mask_id=answer.mask_id)
        return segmentation_document(answer)

    def _prompt(self, step: Json) -> Prompt:
        refine = bool(step.get("refine"))
        if refine and not self._last.mask_id:
            raise InvalidInputError("there is no mask to refine; click without refine first")
        earlier = self._last if refine else Prompt()
        try:
            points = tuple(
                Point(x=float(x), y=float(y), positive=key == "click")
                for key in ("click", "negative")
                for x, y in step.get(key, ())
            )
            sides = [float(side) for side in step["box"]] if "box" in step else None
            box = None if sides is None else _box(*sides)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"{json.dumps(step)} lacks pixels where they belong; give [[x, y], ...] for clicks "
                "and [left, top, right, bottom] for a box"
            ) from error
        return Prompt(
            points=earlier.points + points, box=box or earlier.box, mask_id=earlier.mask_id
        )


def _box(left: float, top: float, right: float, bottom: float) -> Box:
    return Box(left=left, top=top, right=right, bottom=bottom)


def _parsed(line: str) -> Json:
    """A step. Raises InvalidInputError for what is none."""
    try:
        step = json.loads(line)
    except ValueError as error:
        raise InvalidInputError(f"{line.strip()[:80]!r} is no JSON ({error})") from error
    keys = set(step) if isinstance(step, dict) else set()
    kind = next((one for one in ("image", "propose") if one in keys), "click")
    if not keys or not keys <= _KEYS[kind]:
        raise InvalidInputError(
            f"{line.strip()[:80]!r} is no step; give image, or propose, or click, negative and box "
            "with refine"
        )
    parsed: Json = step
    return parsed


def _strategy(step: Mapping[str, Any]) -> Any:
    strategy = step.get("strategy", "apg")
    if strategy not in ("apg", "direct"):
        raise InvalidInputError(f"strategy {strategy!r} is unknown; give apg or direct")
    return strategy
