"""The class names of a YOLO data set, read without a YAML library.

Understood are the forms in which `names:` is written in practice: a list or a map, in brackets
(over several lines, if need be) or with one entry a line, quoted or not, with comments. Not
understood: anchors, aliases, escapes inside quotes, and names that run over several lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from apsam_train.data.files import read_text

_ITEM = r"""(?:'[^']*'|"[^"]*"|[^,'"])+"""
_BEFORE_COMMENT = r"""(?:'[^']*'|"[^"]*"|[^'"#]|(?<=\S)#|['"])*"""


def class_names(places: Iterable[Path]) -> dict[int, str]:
    """index -> name, from the first of `places` that has any: YAML files with `names:`, or text
    files with one name a line. {} when none has."""
    for file in places:
        if file.is_file():
            text = read_text(file)
            names = _of_yaml(text) if file.suffix in (".yaml", ".yml") else _of_lines(text)
            if names:
                return names
    return {}


def _of_lines(text: str) -> dict[int, str]:
    return dict(enumerate(line.strip() for line in text.strip().splitlines()))


def _of_yaml(text: str) -> dict[int, str]:
    found = re.search(r"^names\s*:", text, re.MULTILINE)
    if found is None:
        return {}
    body = "\n".join(_without_comment(line) for line in text[found.end() :].splitlines())
    if body.lstrip().startswith(("[", "{")):
        return _numbered(re.findall(_ITEM, _inside_brackets(body.lstrip())))
    # The block ends where the next key begins: a line that is neither indented nor a list's.
    block = re.split(r"^(?=[^\s-])", body.lstrip("\n"), maxsplit=1, flags=re.MULTILINE)
    return _numbered(line.strip().removeprefix("-") for line in block[0].splitlines())


def _numbered(items: Iterable[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for item in (item.strip() for item in items):
        key = re.match(r"(\d+)\s*:\s*(.*)", item)
        name = (key[2] if key else item).strip("'\"")
        if name:
            names[int(key[1]) if key else len(names)] = name
    return names


def _inside_brackets(text: str) -> str:
    closing = "]" if text[0] == "[" else "}"
    for part in re.finditer(rf"'[^']*'|\"[^\"]*\"|{re.escape(closing)}", text):
        if part[0] == closing:
            return text[1 : part.start()]
    return text[1:]


def _without_comment(line: str) -> str:
    found = re.match(_BEFORE_COMMENT, line)
    assert found is not None
    return found[0]
