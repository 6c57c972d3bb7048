"""All commands and programs that the README and the guides show work, or are accounted for."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from apsam_serve.config import ServeConfig
from apsam_serve.service.background import BackgroundServer
from apsam_train.curate.taxonomy import read_category_map
from tests.guides import stage
from tests.guides.parsers import accepts, program_of, unknown_words
from tests.guides.reading import (
    DOCUMENTS,
    ROOT,
    blocks,
    commands,
    embedded,
    in_sentences,
    text_of,
)
from tests.guides.rehearsal import rehearse
from tests.guides.table import FRAGMENTS, NOT_RUN, RUN
from tests.serve.conftest import MODEL, write_tiny_bundle

SHOWN = [command for document in DOCUMENTS for command in commands(document)]
SAID = list(dict.fromkeys(said for document in DOCUMENTS for said in in_sentences(document)))
REHEARSED = [name for name in DOCUMENTS if any(command in RUN for command in commands(name))]
LONG = ("README.md", "docs/annotation.md", "docs/export.md", "docs/training.md")
NEEDS = {"docs/export.md": "openssl"}
EVERY_BEGINNING = tuple(beginning for many in NOT_RUN.values() for beginning in many)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a double."""
    bundle = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(bundle, MODEL)
    config = ServeConfig(bundle=bundle, listen="127.0.0.1:0", backend="fake", threads=1)
    with BackgroundServer(config) as running:
        yield running.address


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_is_run_or_its_table_says_why_not(command: str) -> None:
    ways = [command in RUN, command.startswith(EVERY_BEGINNING)]
    assert ways.count(True) == 1, "tests/guides/table.py must have it in RUN or in NOT_RUN, once"


def test_the_tables_have_nothing_that_no_document_shows() -> None:
    assert [command for command in RUN if command not in SHOWN] == []
    assert [part for part in EVERY_BEGINNING if not "\n".join(SHOWN).count(part)] == []
    assert [part for part in FRAGMENTS if part not in SAID] == []


@pytest.mark.parametrize(
    "document",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in REHEARSED],
)
def test_the_commands_of_a_document_work_in_their_order(
    document: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if document in NEEDS and shutil.which(NEEDS[document]) is None:
        pytest.skip(f"{document} needs {NEEDS[document]}")
    stage.small_presets(monkeypatch)
    stage.set_up(tmp_path, document)
    monkeypatch.chdir(tmp_path)
    ran = rehearse(document, tmp_path, server=server)
    assert len(ran) == sum(command in RUN for command in commands(document))


@pytest.mark.parametrize(
    "command",
    [
        *(shown for shown in dict.fromkeys(SHOWN) if program_of(shown)),
        *(shown for document in DOCUMENTS for shown in embedded(document)),
        *(said for said in SAID if said not in FRAGMENTS and program_of(said)),
    ],
)
def test_a_command_has_words_that_its_program_accepts(command: str) -> None:
    program = program_of(command)
    assert program is not None
    if command.endswith("--help"):
        assert unknown_words(*program) == []
    elif program[0] != "bench.start_steps":  # it has one word, and no parser
        assert accepts(*program)


@pytest.mark.parametrize("part", FRAGMENTS)
def test_a_part_of_a_command_has_verbs_and_options_of_its_program(part: str) -> None:
    program = program_of(part)
    assert program is not None
    assert unknown_words(*program) == []


@pytest.mark.parametrize("verb", sorted({said for said in SAID + SHOWN if said[:5] == "make "}))
def test_a_make_verb_exists_and_programs_accept_what_it_says(verb: str) -> None:
    told = subprocess.run(
        ["make", "--dry-run", "--always-make", *verb.split()[1:]],
        **{"cwd": ROOT, "capture_output": True, "text": True, "timeout": 30},
    )
    assert told.returncode == 0, told.stderr
    for line in told.stdout.replace("\\\n", "").splitlines():
        program = program_of(re.sub(r"\S*/bin/python -m ", "python -m ", line))
        if program is not None:
            assert accepts(*program), line


@pytest.mark.parametrize("document", ["README.md", "docs/serving.md"])
def test_a_station_in_python_runs_as_shown(
    document: str,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (program,) = [block.text for block in blocks(document) if block.language == "python"]
    assert len(program.splitlines()) <= 20
    stage.write_picture(tmp_path / "bag.png")
    monkeypatch.chdir(tmp_path)
    for shown, here in (
        ('"127.0.0.1:50051"', repr(server)),
        ("210, 180", "20, 20"),  # the bag of the tests is smaller
    ):
        assert shown in program
        program = program.replace(shown, here)
    exec(compile(program, document, "exec"), {"more_points": ()})
    assert capsys.readouterr().out


def test_other_programs_and_files_in_the_guides_can_be_read(tmp_path: Path) -> None:
    for block in blocks("docs/clients.md"):
        if block.language == "python":
            compile(block.text, "docs/clients.md", "exec")
    (categories,) = [block for block in blocks("docs/curation.md") if block.language == "toml"]
    (tmp_path / "map.toml").write_text(categories.text)
    assert read_category_map(tmp_path / "map.toml", ["pidray"])


def test_every_verb_the_guide_names_is_one() -> None:
    listed = re.search(r"`apsam-client ([a-z |\n]+)`", text_of("docs/serving.md"))
    assert listed is not None
    verbs = {verb.strip() for verb in listed[1].split("|")}
    files = {path.stem for path in (ROOT / "apsam_serve/client_cli").glob("*.py")}
    assert len(verbs) == 7
    assert verbs <= files


def test_the_readme_says_of_every_dependency_what_it_is_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [
        *project["dependencies"],
        *(one for name in extras if name != "dev" for one in extras[name]),
    ]
    names = {re.split(r"[\[<>=]", one)[0] for one in asked} - {"apsam"}
    table = text_of("README.md").partition("<!-- dependencies -->")[2]
    rows = [row.split("|") for row in table.partition("<!--")[0].splitlines() if row[:1] == "|"]
    told = {name for row in rows for name in re.findall(r"[\w-]+", row[2])}
    assert names - told == set()
    assert {f"[{name}]" for name in extras if name != "dev" and f"`[{name}]`" not in table} == set()


def test_the_pictures_of_the_readme_can_be_seen() -> None:
    for text, path in re.findall(r"!\[(.*?)\]\((.*?)\)", text_of("README.md")):
        assert len(text) > 20, "say in words what it shows"
        assert cv2.imread(str(ROOT / path)) is not None
