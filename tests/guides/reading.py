"""Commands as the documents show them: in fenced blocks, and in the middle of a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = ("", "sh")
"""Languages of blocks that hold commands."""
_PROGRAM = re.compile(r"(apsam-(train|export|serve|client|audit|console)|python -m|make|pytest) ")
_UNIT = re.compile(r"^ExecStart=\S*/(.*)$", re.MULTILINE)
_POD = re.compile(r"^    args:\n((?:      - \S+\n)+)", re.MULTILINE)
_PROBE = re.compile(r"command: \[(.*?)\]", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language, and the text in it."""

    language: str
    text: str


def text_of(document: str) -> str:
    """All of it but the README's file tree."""
    text = (ROOT / document).read_text("utf-8")
    return re.sub(r"<!-- tree -->.*?<!-- /tree -->", "", text, flags=re.DOTALL)


def blocks(document: str) -> list[Block]:
    """All fenced blocks, without the breaks of long commands."""
    text = text_of(document).replace("\\\n", "")
    return [Block(language=part[1], text=part[2]) for part in _FENCE.finditer(text)]


def commands(document: str) -> list[str]:
    """One command each, as typed but for the line's breaks, comments and `.venv/bin/`."""
    return [
        line
        for block in blocks(document)
        if block.language in _SHELL
        for line in _commands(block.text)
    ]


def embedded(document: str) -> list[str]:
    """Commands in systemd units and in Kubernetes' lists."""
    text = text_of(document).replace("\\\n", "")
    units = [_tidy(line) for line in _UNIT.findall(text)]
    pods = ["apsam-serve " + _tidy(re.sub(r" - ", " ", part)) for part in _POD.findall(text)]
    probes = [_tidy(part.replace(",", "")) for part in _PROBE.findall(text)]
    return [*units, *pods, *probes]


def in_sentences(document: str) -> list[str]:
    """Commands of this project in `code` outside blocks, in order, each once."""
    prose = _FENCE.sub("", text_of(document).replace("\\|", "|"))
    spans = (_tidy(span) for span in re.findall(r"`([^`]+)`", prose))
    return list(dict.fromkeys(span for span in spans if _PROGRAM.match(span) and " | " not in span))


def _commands(text: str) -> Iterator[str]:
    """A function's body belongs to its first line."""
    body: list[str] = []
    for line in text.splitlines():
        if body or re.match(r"\w+\(\) \{", line):
            body.append(line)
            if line == "}":
                yield "\n".join(body)
                body = []
        elif line.strip():
            yield _tidy(re.sub(r"\s+# .*$", "", line))


def _tidy(line: str) -> str:
    return " ".join(line.replace(".venv/bin/", "").split())
