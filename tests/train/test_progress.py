"""Bars and tables: drawn for who watches, nothing but plain text for everybody else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from apsam_train.tables import Table

WORK = """
from apsam_serve.progress import Progress
from apsam_train.tables import Table, show
with Progress("outer") as outer:
    outer.show(0.5, "half [of] it")
    with Progress("inner") as inner:
        inner.show(None, "nobody knows")
        inner.warn_once("careful")
        inner.warn_once("never said")
    outer.show(1, "all of it")
with Progress("hidden", quiet=True) as hidden:
    hidden.show(1, "hidden")
show(["first", "", Table(columns=("name", "number"), rows=[("a [b]", 3), ("c", "-")])])
"""
TABLE = "first\nname   number\na [b]       3\nc           -\n"


def run(*, terminals: bool) -> tuple[str, str]:
    """(standard output, standard error) of WORK, both terminals or both pipes."""
    command = [sys.executable, "-c", WORK]
    if not terminals:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    ends = [pty.openpty() for _ in range(2)]
    (out, their_out), (error, their_error) = ends
    process = subprocess.Popen(command, stdout=their_out, stderr=their_error, env=environment)
    for end in (their_out, their_error):
        os.close(end)
    said = said_on(error), said_on(out)
    assert process.wait() == 0, said
    return said[1], said[0]


def said_on(terminal: int) -> str:
    text = b""
    try:
        while part := os.read(terminal, 4096):
            text += part
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return text.decode()


def test_a_terminal_shows_bars_messages_and_drawn_tables() -> None:
    out, error = run(terminals=True)
    for words in ("outer", "half [of] it", "inner", "nobody knows", "100%", "all of it"):
        assert words in error, words
    assert error.count("inner: careful") == 1
    assert "hidden" not in error
    assert "a [b]" in out
    assert "────" in out


def test_elsewhere_there_is_no_bar_but_warnings_and_plain_tables() -> None:
    assert run(terminals=False) == (TABLE, "inner: careful\n")


def test_a_table_aligns_numbers_to_the_right_and_ends_with_its_notes() -> None:
    rows = [("knife", "12.50", "1.0e-3", "4 %"), ("gun", "7.00", "-", "100 %")]
    table = Table(columns=("name", "IoU", "error", "share"), rows=rows, title="T", notes=("end",))
    assert str(table).splitlines() == [
        "T",
        "name     IoU   error  share",
        "knife  12.50  1.0e-3    4 %",
        "gun     7.00       -  100 %",
        "end",
    ]
