"""Work that is saved: images, objects and their history in one SQLite file and a folder.

    project.sqlite                 write-ahead log; a call returns when the disk has its commit
    images/<sha256>.<suffix>       every image as it came, under the digest of its bytes

Any thread may call; calls take turns. Several processes may open one project, and wait for each
other's commits.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final, Self, get_args

from apsam_serve.console import schema
from apsam_serve.console.rows import (
    Action,
    HistoryRow,
    ImageRow,
    NewObject,
    ObjectRow,
    Status,
    check_choice,
    check_reviewer,
    check_values,
    measure,
    to_json,
)
from apsam_serve.contract.images import probe
from apsam_serve.errors import InvalidInputError, NotInProjectError, ProjectError

DATABASE: Final = "project.sqlite"
IMAGES: Final = "images"
MAX_NAME_CHARACTERS: Final = 255
_SUFFIXES: Final = {"png": ".png", "jpeg": ".jpg", "tiff": ".tif"}
_WAIT_S: Final = 5.0
"""For the commit of another process."""
_FIELDS: Final = tuple(field.name for field in fields(NewObject))


class Project:
    """An open project; see the module. Raises ProjectError where it cannot be read or written:
    what a call did not return from is not promised, and nothing is half saved."""

    def __init__(self, folder: Path, db: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = db
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the project of a folder, or begin one there. Raises ProjectError."""
        file = folder / DATABASE
        try:
            (folder / IMAGES).mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(
                file, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise ProjectError(f"{folder} cannot hold a project ({error})") from error
        try:
            _configure(db, file)
        except BaseException:
            db.close()
            raise
        return cls(folder, db)

    def close(self) -> None:
        """Close the file; every other call then raises ProjectError."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_image(
        self, name: str, data: bytes, *, height: int, width: int, sha256: str
    ) -> ImageRow:
        """Keep an image file; the same bytes are the same image, whatever their name. Where another
        image has the name already, a number is put behind its stem. Raises InvalidInputError."""
        name, suffix = _clean_name(name), _SUFFIXES[probe(data).format]
        _write_durably(self.folder / IMAGES / f"{sha256}{suffix}", data)
        with self._writing() as db:
            known = db.execute(f"{schema.IMAGES} WHERE sha256 = ?", (sha256,)).fetchone()
            if known is not None:
                return schema.image_row(known)
            now = _now()
            cursor = db.execute(
                "INSERT INTO images (name, sha256, suffix, height, width, created, changed) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (_free_name(db, name), sha256, suffix, height, width, now, now),
            )
            return _image(db, cursor.lastrowid)

    def images(self) -> list[ImageRow]:
        """Every image, in the order they came."""
        with self._reading() as db:
            return [schema.image_row(row) for row in db.execute(f"{schema.IMAGES} ORDER BY id")]

    def image(self, image_id: int) -> ImageRow:
        """One image. Raises NotInProjectError."""
        with self._reading() as db:
            return _image(db, image_id)

    def file_of(self, image: ImageRow) -> Path:
        """Where an image's bytes lie."""
        return self.folder / IMAGES / f"{image.sha256}{image.suffix}"

    def set_status(
        self, image_id: int, status: Status, *, reviewer: str = "", round: int = 0
    ) -> ImageRow:
        """Say whether an image is done, and who says so for which round of annotation, which is
        forgotten when it is opened again. Raises NotInProjectError, InvalidInputError."""
        check_choice("status", status, get_args(Status))
        check_reviewer(reviewer, round)
        if status == "open":
            reviewer, round = "", 0
        with self._writing() as db:
            db.execute(
                "UPDATE images SET status = ?, reviewer = ?, round = ?, changed = ? WHERE id = ?",
                (status, reviewer, round, _now(), image_id),
            )
            return _image(db, image_id)

    def save_object(self, image_id: int, new: NewObject) -> ObjectRow:
        """Save an object; it is on the disk when this returns. Raises NotInProjectError,
        InvalidInputError."""
        check_values(new)
        with self._writing() as db:
            now = _now()
            image = _image(db, image_id)
            box, area = measure(new.mask, height=image.height, width=image.width)
            columns = schema.object_columns(new, box, area)
            columns |= {"image_id": image_id, "created": now, "changed": now}
            marks = ", ".join("?" * len(columns))
            cursor = db.execute(
                f"INSERT INTO objects ({', '.join(columns)}) VALUES ({marks})", (*columns.values(),)
            )
            return _recorded(db, _object(db, cursor.lastrowid), "saved", now)

    def change_object(self, object_id: int, **changes: Any) -> ObjectRow:
        """Change fields of `NewObject`. Raises NotInProjectError, InvalidInputError."""
        unknown = sorted(changes.keys() - set(_FIELDS))
        if unknown:
            raise InvalidInputError(
                f"an object's {', '.join(unknown)} cannot be changed; change {', '.join(_FIELDS)}"
            )
        with self._writing() as db:
            now = _now()
            before = _object(db, object_id)
            new = replace(_as_new(before), **changes)
            check_values(new)
            box, area = before.box, before.area
            if new.mask != before.mask:
                box, area = measure(new.mask, height=before.mask.height, width=before.mask.width)
            columns = schema.object_columns(new, box, area) | {"changed": now}
            marks = ", ".join(f"{name} = ?" for name in columns)
            db.execute(f"UPDATE objects SET {marks} WHERE id = ?", (*columns.values(), object_id))
            return _recorded(db, _object(db, object_id), "changed", now)

    def remove_object(self, object_id: int) -> None:
        """Remove an object; its history stays. Raises NotInProjectError."""
        with self._writing() as db:
            _recorded(db, _object(db, object_id), "removed", _now())
            db.execute("DELETE FROM objects WHERE id = ?", (object_id,))

    def object(self, object_id: int) -> ObjectRow:
        """One object. Raises NotInProjectError."""
        with self._reading() as db:
            return _object(db, object_id)

    def objects(self, image_id: int) -> list[ObjectRow]:
        """An image's objects, rejected ones too, in the order they came. Raises
        NotInProjectError."""
        with self._reading() as db:
            _image(db, image_id)
            return _objects(db, image_id)

    def history(self, image_id: int) -> list[HistoryRow]:
        """What happened to an image's objects, first to last. Raises NotInProjectError."""
        with self._reading() as db:
            _image(db, image_id)
            found = db.execute(f"{schema.HISTORY} WHERE image_id = ? ORDER BY id", (image_id,))
            return [schema.history_row(row) for row in found]

    def contents(self) -> list[tuple[ImageRow, list[ObjectRow]]]:
        """Every image with its objects, all of one moment."""
        with self._reading() as db:
            images = [schema.image_row(row) for row in db.execute(f"{schema.IMAGES} ORDER BY id")]
            return [(image, _objects(db, image.id)) for image in images]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._transaction("BEGIN IMMEDIATE") as db:
            yield db

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute(begin)
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                finally:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
            except OverflowError as error:  # an id of more than 64 bits
                raise NotInProjectError(f"project has no such id ({error})") from error
            except sqlite3.Error as error:
                raise ProjectError(
                    f"{self.folder / DATABASE} did not take or give its rows ({error}); nothing "
                    "was saved: free disk space, or see that the disk is well, and repeat it"
                ) from error


def _clean_name(name: str) -> str:
    """An image's name without what leads out of a folder. Raises InvalidInputError."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    cleaned = "/".join(parts)
    if not cleaned or len(cleaned) > MAX_NAME_CHARACTERS or not cleaned.isprintable():
        raise InvalidInputError(
            f"image name {name[:80]!r} must have 1 to {MAX_NAME_CHARACTERS} printable characters"
        )
    return cleaned


def _configure(db: sqlite3.Connection, file: Path) -> None:
    db.row_factory = sqlite3.Row
    try:
        db.execute("BEGIN IMMEDIATE")
        schema.prepare(db, str(file))
        db.execute("COMMIT")
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        raise ProjectError(
            f"{file} is no project ({error}); restore it, or choose another folder"
        ) from error
    if mode != "wal":
        raise ProjectError(
            f"{file} lies where SQLite cannot keep a write-ahead log (it says {mode!r}); choose a "
            "folder on a local disk"
        )


def _write_durably(file: Path, data: bytes) -> None:
    """Whole or not at all, and on the disk before any row speaks of it. Raises ProjectError."""
    partial = file.with_name(f".{file.name}.{threading.get_ident()}.{os.getpid()}.partial")
    try:
        if file.exists():
            return
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, file)
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ProjectError(
            f"{file.parent} did not take an image of {len(data)} bytes ({error.strerror}); free "
            "disk space and add it again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _free_name(db: sqlite3.Connection, name: str) -> str:
    path, number = PurePosixPath(name), 1
    while db.execute("SELECT 1 FROM images WHERE name = ?", (name,)).fetchone() is not None:
        number += 1
        name = str(path.with_name(f"{path.stem} ({number}){path.suffix}"))
    return name


def _image(db: sqlite3.Connection, image_id: int | None) -> ImageRow:
    row = db.execute(f"{schema.IMAGES} WHERE id = ?", (image_id,)).fetchone()
    if row is None:
        raise NotInProjectError(f"project has no image {image_id}; list its images again")
    return schema.image_row(row)


def _object(db: sqlite3.Connection, object_id: int | None) -> ObjectRow:
    row = db.execute(f"{schema.OBJECTS} WHERE objects.id = ?", (object_id,)).fetchone()
    if row is None:
        raise NotInProjectError(
            f"project has no object {object_id}, or no longer; list the image's objects again"
        )
    return schema.object_row(row)


def _objects(db: sqlite3.Connection, image_id: int) -> list[ObjectRow]:
    found = db.execute(f"{schema.OBJECTS} WHERE image_id = ? ORDER BY objects.id", (image_id,))
    return [schema.object_row(row) for row in found]


def _as_new(row: ObjectRow) -> NewObject:
    return NewObject(**{name: getattr(row, name) for name in _FIELDS})


def _recorded(db: sqlite3.Connection, row: ObjectRow, action: Action, at: str) -> ObjectRow:
    db.execute(
        "INSERT INTO history (object_id, image_id, action, at, state) VALUES (?, ?, ?, ?, ?)",
        (row.id, row.image_id, action, at, to_json(row.document())),
    )
    return row


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
