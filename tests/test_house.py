"""The house itself: sizes, files that must exist, and commands the README names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in ("apsam_train", "apsam_export", "apsam_serve", "bench", "integrations", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "_pb2" not in path.name
]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_over_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_every_make_verb_of_the_readme_exists() -> None:
    verbs = set(re.findall(r"make ([a-z-]+)", README))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= verbs <= targets


def test_every_path_of_the_readmes_file_tree_exists() -> None:
    tree = re.search(r"<!-- tree -->\n```\n(.*?)```", README, re.DOTALL)
    assert tree is not None
    paths = [line.split()[0] for line in tree[1].splitlines() if line.strip()]
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists(), path


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
