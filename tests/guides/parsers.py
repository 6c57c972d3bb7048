"""Asks a program's own parser about the words of a command, and runs nothing else of it."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from itertools import takewhile

import pytest

_MODULES = {
    "apsam-train": "apsam_train.cli",
    "apsam-export": "apsam_export.cli",
    "apsam-serve": "apsam_serve.cli",
    "apsam-client": "apsam_serve.client_cli.main",
    "apsam-audit": "apsam_serve.audit_cli",
    "apsam-console": "apsam_serve.console.cli",
}
_OURS = ("bench", "integrations", "tests", "apsam_train")


class _AcceptedError(Exception):
    """The words were accepted."""


def program_of(command: str) -> tuple[str, list[str]] | None:
    """Module and words of a command whose program is ours, else None."""
    words = [word for word in shlex.split(command)]
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    if not words:
        return None
    if words[0] == "torchrun":
        words = ["python", *words[words.index("-m") :]]
    if words[0] in _MODULES:
        return _MODULES[words[0]], words[1:]
    if words[:2] == ["python", "-m"] and words[2].split(".")[0] in _OURS:
        return words[2], words[3:]
    if words[0] == "python" and words[1].endswith(".py"):
        return words[1].removesuffix(".py").replace("/", "."), words[2:]
    return None


def main_of(module: str) -> Callable[[Sequence[str]], int]:
    """What the program does with words; some of them read them from `sys.argv` alone."""
    loaded = importlib.import_module(module)
    if "main" not in vars(loaded):
        loaded = importlib.import_module(f"{module}.__main__")

    def main(words: Sequence[str]) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [module, *words])
            return int(loaded.main())

    return main


def accepts(module: str, words: Sequence[str]) -> bool:
    """Whether the parser takes the words; it tells on standard error why not."""
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *given: object) -> None:
        parse(parser, *given)  # type: ignore[call-overload]
        raise _AcceptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        try:
            main_of(module)(words)
        except _AcceptedError:
            return True
        except SystemExit:
            return False
    raise AssertionError(f"{module} has parsed nothing")


def unknown_words(module: str, words: Sequence[str]) -> list[str]:
    """The verbs and options among the words that the program does not know."""
    verbs = list(takewhile(re.compile(r"[a-z]+").fullmatch, words))
    options = {word for word in words if word.startswith("--")}
    found: list[argparse.ArgumentParser] = []

    def keep(parser: argparse.ArgumentParser, *_: object) -> None:
        found.append(parser)
        raise _AcceptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", keep)
        with pytest.raises(_AcceptedError):
            main_of(module)(words)
    known: set[str] = set(found[0]._option_string_actions)
    unknown = []
    for verb in verbs:
        choices = _verbs(found[-1])
        if verb not in choices:
            unknown.append(verb)
            break
        found.append(choices[verb])
        known |= set(found[-1]._option_string_actions)
    return unknown + sorted(options - known)


def _verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
