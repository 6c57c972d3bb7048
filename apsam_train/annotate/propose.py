"""`apsam-train annotate propose`: a model's masks for objects of which a box is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from apsam_serve.contract.segmenter import Segmenter
from apsam_train.annotate.documents import Document, to_text
from apsam_train.annotate.journal import append_line, read_journal
from apsam_train.annotate.prompts import check_choice
from apsam_train.annotate.proposals import (
    ProposeOptions,
    image_line,
    problems_of,
    proposals_document,
    root_of,
)
from apsam_train.annotate.record import (
    JOURNAL,
    PROPOSALS,
    RECORD,
    WORK_LIST,
    Proposed,
    Round,
    now,
    read_round,
    write_round,
)
from apsam_train.annotate.work_list import work_list
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import ConfigError, DatasetError
from apsam_train.files import write_whole


def propose(
    segmenter: Segmenter,
    dataset: ImageDataset,
    *,
    out: Path,
    model: str,
    model_sha256: str | None = None,
    options: ProposeOptions | None = None,
    log: ProblemLog | None = None,
    on_image: Callable[[int], None] = lambda _done: None,
) -> Round:
    """Fill the folder `out` of a round; a run that was killed goes on where it stopped, and ends
    with the same proposals.

    on_image: called with the number of images done. Raises ConfigError when `out` holds a round of
    another model, data set or options, DatasetError when there is nothing to outline.
    """
    options = options or ProposeOptions()
    log = log or ProblemLog()
    check_choice(options.prompt, refine=options.refine)
    record = _open(
        out,
        Proposed(
            model=model,
            model_sha256=model_sha256,
            data=dataset.description,
            data_root=str(root_of(dataset).resolve()),
            options=asdict(options),
            started_at=now(),
        ),
    )
    done = {line["name"]: line for line in read_journal(out / JOURNAL)}
    for index, entry in enumerate(dataset.entries):
        if entry.name in done:
            log.extend(problems_of(done[entry.name]))
        else:
            line = image_line(segmenter, dataset, index, options)
            log.extend(problems_of(line))
            append_line(out / JOURNAL, line)
            done[entry.name] = line
        on_image(index + 1)
    lines = [done[entry.name] for entry in dataset.entries if done[entry.name]["objects"]]
    if not lines:
        raise DatasetError(
            f"{dataset.description} has nothing to outline in {len(dataset)} images; masks that "
            "are to be outlined anew need --refine"
        )
    return _finish(out, record, proposals_document(lines, record.proposed), log)


def _open(out: Path, proposed: Proposed) -> Round:
    if not (out / RECORD).exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"--out {out} exists and is no annotation round; choose another")
        out.mkdir(parents=True, exist_ok=True)
        record = Round(proposed=proposed)
        write_round(out, record)
        return record
    record = read_round(out)
    if record.reviews:
        raise ConfigError(f"--out {out} has been reviewed already; choose another for a new round")
    old, new = asdict(record.proposed), asdict(proposed)
    keys = ("model", "model_sha256", "data", "data_root", "options")
    changed = [key for key in keys if old[key] != new[key]]
    if changed:
        key = changed[0]
        raise ConfigError(
            f"--out {out} was begun with another {key} ({old[key]!r}, now {new[key]!r}); go on "
            "with the same, or choose another folder"
        )
    return record


def _finish(out: Path, record: Round, document: Document, log: ProblemLog) -> Round:
    annotations = document["annotations"]
    flags = Counter(flag for record in annotations for flag in record["flags"])
    proposed = replace(
        record.proposed,
        finished_at=record.proposed.finished_at or now(),
        num_images=len(document["images"]),
        num_objects=len(annotations),
        num_flagged=sum(bool(record["flags"]) for record in annotations),
        mean_score=float(np.mean([record["score"] for record in annotations])),
        mean_box_iou=float(np.mean([record["box_iou"] for record in annotations])),
        flags=dict(flags.most_common()),
        problems=log.counts(),
    )
    write_whole(out / PROPOSALS, to_text(document))
    write_whole(out / WORK_LIST, work_list(document))
    finished = replace(record, proposed=proposed)
    write_round(out, finished)
    return finished
