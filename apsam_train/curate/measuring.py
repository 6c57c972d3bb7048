"""Stage 1 over all images: in several processes, appended in pieces, going on where it was."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from apsam_serve.progress import Progress
from apsam_train.curate.index import header, lines, stage_key
from apsam_train.curate.measure import VERSION, Job, measure, one_thread
from apsam_train.curate.sources import Source
from apsam_train.data.problems import ProblemLog, problem_of
from apsam_train.errors import DatasetError

PIECE = 500
"""Images measured between two writes; a killed run measures at most two pieces again."""
_PER_TASK = 8

MeasureAll = Callable[[Sequence[Job]], Iterator[list[str]]]


def measure_sources(
    sources: Sequence[Source], file: Path, *, workers: int, piece: int = PIECE, log: ProblemLog
) -> None:
    """Write the index `file` unless it is there already. Raises DatasetError when the log is strict
    and at the first problem; what was measured until then is kept."""
    digests = [[source.name, source.digest] for source in sources]
    key = stage_key("measure", source="", options={"version": VERSION, "sources": digests})
    if header(file).get("key") == key:
        _log_problems(file, log)
        return
    partial = file.with_suffix(".partial.jsonl")
    done = _resume(partial, key)
    _log_problems(partial, log)
    jobs = [
        Job(source=s.name, format=s.dataset.format, root=s.dataset.root, entry=entry)
        for s in sources
        for entry in s.dataset.entries
    ]
    count, started = done, time.monotonic()
    with (
        Progress("measure") as bar,
        _measurer(workers, piece) as measure_all,
        partial.open("a", encoding="utf-8") as stream,
    ):
        for measured in measure_all(jobs[done:]):
            stream.writelines(measured)
            stream.flush()
            os.fsync(stream.fileno())
            count += len(measured)
            rate = (count - done) / (time.monotonic() - started)
            bar.show(count / len(jobs), f"{count}/{len(jobs)} images, {rate:.1f}/s")
            for line in measured:
                _log_line(line, log)
    os.replace(partial, file)


def _resume(partial: Path, key: str) -> int:
    """Images that an earlier run measured; a line that it could not finish is cut off."""
    first = json.dumps({"stage": "measure", "key": key, "notes": {}}) + "\n"
    if header(partial).get("key") != key:
        partial.write_text(first, encoding="utf-8")
        return 0
    whole = num_lines = 0
    with partial.open("rb+") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                whole, num_lines = whole + len(line), num_lines + 1
        stream.truncate(whole)
    return num_lines - 1


@contextmanager
def _measurer(workers: int, piece: int) -> Iterator[MeasureAll]:
    if workers == 1:
        one_thread()
        yield lambda jobs: (list(map(measure, part)) for part in _pieces(jobs, piece))
        return
    # spawn, not fork: OpenCV and BLAS threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread) as pool:
        try:
            yield lambda jobs: _in_processes(pool, jobs, piece)
        except BrokenProcessPool as error:
            raise DatasetError(
                f"one of {workers} worker processes died, of too little memory as a rule; run the "
                "same command again with fewer --workers, it goes on where it was"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _in_processes(
    pool: ProcessPoolExecutor, jobs: Sequence[Job], piece: int
) -> Iterator[list[str]]:
    """Pieces in order; the next one is under way while one is written."""
    ahead: deque[Iterator[str]] = deque()
    for part in _pieces(jobs, piece):
        ahead.append(pool.map(measure, part, chunksize=_PER_TASK))
        if len(ahead) > 1:
            yield list(ahead.popleft())
    while ahead:
        yield list(ahead.popleft())


def _pieces(jobs: Sequence[Job], piece: int) -> Iterator[Sequence[Job]]:
    return (jobs[first : first + piece] for first in range(0, len(jobs), piece))


def _log_problems(file: Path, log: ProblemLog) -> None:
    for line in lines(file):
        _log_line(line, log)


def _log_line(line: str, log: ProblemLog) -> None:
    if line.endswith('"problems": []}\n'):
        return
    measured = json.loads(line)
    source = measured["record"]["source"]
    for found in measured["problems"]:
        problem = problem_of(found)
        log.extend([replace(problem, where=f"{source}/{problem.where}")])
