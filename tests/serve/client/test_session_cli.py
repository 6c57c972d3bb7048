"""`apsam-client session`: steps in, answers out, one JSON line each."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.client_cli import main
from apsam_serve.service.background import BackgroundServer

Json = dict[str, Any]


@pytest.fixture
def picture(tmp_path: Path, bag_png: bytes) -> str:
    (tmp_path / "bag.png").write_bytes(bag_png)
    return str(tmp_path / "bag.png")


@pytest.fixture
def script(
    running: BackgroundServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs steps: (exit code, answers)."""

    def run(*steps: Json | str, images: tuple[str, ...] = ()) -> tuple[int, list[Json]]:
        lines = [step if isinstance(step, str) else json.dumps(step) for step in steps]
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*lines, ""])))
        code = main(["session", *images, "--server", running.address])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_a_station_shows_clicks_refines_and_proposes(script: Any, picture: str) -> None:
    code, answers = script(
        {"image": picture},
        {"click": [[20, 20]], "strategy": "direct"},
        {"click": [[30, 30]], "refine": True, "strategy": "direct"},
        {"click": [[20, 20], [30, 30]], "strategy": "direct"},
        {"box": [10, 10, 40, 40], "negative": [[58, 38]], "strategy": "direct"},
        {"propose": {"max_proposals": 1}},
    )
    assert code == 0
    assert [one["step"] for one in answers] == [0, 1, 2, 3, 4, 5]
    shown, first, refined, afresh, box, proposed = answers
    assert (shown["width"], shown["height"]) == (80, 60)
    assert refined["points"] == afresh["points"] != first["points"]
    assert refined["mask"] != afresh["mask"]
    assert box["points"][-1] == {"x": 58.0, "y": 38.0, "positive": False}
    assert len(proposed["proposals"]) == 1


def test_the_same_steps_are_done_for_each_image(script: Any, picture: str) -> None:
    code, answers = script({"propose": {}}, {"click": [[20, 20]]}, images=(picture, picture))
    kinds = [next(key for key in ("image", "proposals", "area") if key in one) for one in answers]
    assert (code, kinds) == (0, ["image", "proposals", "area"] * 2)
    assert answers[1]["proposals"] == answers[4]["proposals"]


@pytest.mark.parametrize(
    ("step", "reason", "message"),
    [
        ("{broken", "INVALID_INPUT", "is no JSON"),
        ("[1]", "INVALID_INPUT", "is no step; give image"),
        ({"clik": [[1, 1]]}, "INVALID_INPUT", "is no step; give image"),
        ({"click": [1, 1]}, "INVALID_INPUT", "lacks pixels where they belong"),
        ({"click": [[1, 1]], "box": [1, 2]}, "INVALID_INPUT", "lacks pixels where they belong"),
        ({"click": [[1, 1]], "refine": True}, "INVALID_INPUT", "there is no mask to refine"),
        ({"click": [[1, 1]], "strategy": "magic"}, "INVALID_INPUT", "give apg or direct"),
        ({"click": [[999, 1]]}, "INVALID_PROMPT", "lies outside the image"),
        ({"propose": {"many": 1}}, "INVALID_INPUT", "is no set of options"),
        ({"propose": {"min_score": 7}}, "INVALID_INPUT", "min_score is 7"),
        ({"image": "missing.png"}, "INVALID_IMAGE", "missing.png cannot be read"),
    ],
)
def test_a_step_that_fails_is_answered_and_the_session_goes_on(
    script: Any, picture: str, step: Json | str, reason: str, message: str
) -> None:
    code, answers = script({"image": picture}, step, {"click": [[20, 20]]})
    assert code == 1
    assert answers[1]["error"]["reason"] == reason
    assert message in answers[1]["error"]["message"]
    assert answers[2]["area"] > 0
