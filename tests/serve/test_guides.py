"""The programs that the documents show do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apsam_serve.service.background import BackgroundServer

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("document", ["README.md", "docs/serving.md"])
def test_a_station_in_python_runs_as_shown(
    document: str,
    running: BackgroundServer,
    bag_png: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    (tmp_path / "bag.png").write_bytes(bag_png)
    monkeypatch.chdir(tmp_path)
    for shown, here in (
        ('"127.0.0.1:50051"', repr(running.address)),
        ("210, 180", "20, 20"),  # the bag of the tests is smaller
    ):
        assert shown in program
        program = program.replace(shown, here)
    exec(compile(program, document, "exec"), {"more_points": ()})
    assert capsys.readouterr().out


def test_every_verb_the_guide_names_is_one() -> None:
    guide = (ROOT / "docs/serving.md").read_text()
    listed = re.search(r"`apsam-client ([a-z |\n]+)`", guide)
    assert listed is not None
    verbs = {verb.strip() for verb in listed[1].split("|")}
    files = {path.stem for path in (ROOT / "apsam_serve/client_cli").glob("*.py")}
    assert len(verbs) == 7
    assert verbs <= files
