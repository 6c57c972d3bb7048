"""The tables of a project, and its rows as values."""

from __future__ import annotations

import json
import sqlite3
from typing import Final

from apsam_serve.console.rows import HistoryRow, ImageRow, NewObject, ObjectRow, to_json
from apsam_serve.contract.masks import Rle
from apsam_serve.contract.prompts import Box
from apsam_serve.errors import ProjectError

APPLICATION_ID: Final = 0x41505341
"""What SQLite's header says whose file it is."""
VERSION: Final = 1

_TABLES: Final = (
    """CREATE TABLE images (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        sha256 TEXT NOT NULL UNIQUE,
        suffix TEXT NOT NULL,
        height INTEGER NOT NULL,
        width INTEGER NOT NULL,
        status TEXT NOT NULL DEFAULT 'open',
        reviewer TEXT NOT NULL DEFAULT '',
        round INTEGER NOT NULL DEFAULT 0,
        created TEXT NOT NULL,
        changed TEXT NOT NULL
    )""",
    # AUTOINCREMENT: the id of a removed object never names another one in the history.
    """CREATE TABLE objects (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        image_id INTEGER NOT NULL REFERENCES images (id),
        category TEXT,
        counts TEXT NOT NULL,
        "left" INTEGER NOT NULL,
        top INTEGER NOT NULL,
        "right" INTEGER NOT NULL,
        bottom INTEGER NOT NULL,
        area INTEGER NOT NULL,
        score REAL,
        source TEXT NOT NULL,
        verdict TEXT NOT NULL,
        reviewer TEXT NOT NULL,
        round INTEGER NOT NULL,
        prompt TEXT,
        model_digest TEXT NOT NULL,
        created TEXT NOT NULL,
        changed TEXT NOT NULL
    )""",
    "CREATE INDEX objects_by_image ON objects (image_id)",
    """CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        object_id INTEGER NOT NULL,
        image_id INTEGER NOT NULL REFERENCES images (id),
        action TEXT NOT NULL,
        at TEXT NOT NULL,
        state TEXT NOT NULL
    )""",
    "CREATE INDEX history_by_image ON history (image_id)",
)

IMAGES: Final = """SELECT images.*, (
        SELECT COUNT(*) FROM objects
        WHERE objects.image_id = images.id AND objects.verdict != 'rejected'
    ) AS num_objects FROM images"""
OBJECTS: Final = """SELECT objects.*, images.height, images.width
    FROM objects JOIN images ON images.id = objects.image_id"""
HISTORY: Final = "SELECT * FROM history"


def prepare(db: sqlite3.Connection, name: str) -> None:
    """Make the tables where there are none, within the caller's transaction. Raises ProjectError
    for the file of another program or release."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if (application, version) == (APPLICATION_ID, VERSION):
        return
    if application == APPLICATION_ID:
        raise ProjectError(
            f"{name} is a project of format {version}; this release reads format {VERSION}"
        )
    if db.execute("SELECT 1 FROM sqlite_schema").fetchone() is not None:
        raise ProjectError(f"{name} is another program's database; choose another folder")
    for statement in _TABLES:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def image_row(row: sqlite3.Row) -> ImageRow:
    """A row of `IMAGES`."""
    return ImageRow(**dict(row))


def object_row(row: sqlite3.Row) -> ObjectRow:
    """A row of `OBJECTS`."""
    values = dict(row)
    mask = Rle(height=values.pop("height"), width=values.pop("width"), counts=values.pop("counts"))
    box = Box(**{side: values.pop(side) for side in ("left", "top", "right", "bottom")})
    prompt = json.loads(values.pop("prompt") or "null")
    return ObjectRow(**values, mask=mask, box=box, prompt=prompt)


def history_row(row: sqlite3.Row) -> HistoryRow:
    """A row of `HISTORY`."""
    return HistoryRow(**dict(row) | {"state": json.loads(row["state"])})


def object_columns(new: NewObject, box: Box, area: int) -> dict[str, object]:
    """The columns of an object that can change."""
    return {
        "category": new.category,
        "counts": new.mask.counts,
        '"left"': box.left,
        "top": box.top,
        '"right"': box.right,
        "bottom": box.bottom,
        "area": area,
        "score": new.score,
        "source": new.source,
        "verdict": new.verdict,
        "reviewer": new.reviewer,
        "round": new.round,
        "prompt": None if new.prompt is None else to_json(new.prompt),
        "model_digest": new.model_digest,
    }
