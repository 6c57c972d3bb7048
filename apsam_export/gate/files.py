"""The reports of a bundle's builds as files: parity.json for programs, parity.html for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apsam_export.gate.page import page
from apsam_export.gate.report import Outcome, Report
from apsam_serve.contract.manifest import Manifest

JSON_FILE, PAGE_FILE = "parity.json", "parity.html"


def write_reports(folder: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Write both files. A reason stands for a build that was not run."""
    document = {
        name: {"not_run": found} if isinstance(found, str) else found.to_json()
        for name, found in outcomes.items()
    }
    (folder / JSON_FILE).write_text(json.dumps(document, indent=2) + "\n")
    (folder / PAGE_FILE).write_text(page(outcomes))


def read_reports(folder: Path, manifest: Manifest) -> dict[str, Outcome]:
    """What parity.json says of each build, without pictures."""
    document = json.loads((folder / JSON_FILE).read_text())
    return {
        name: _outcome(document.get(name, {"not_run": "no report of it was kept"}))
        for name in manifest.builds
    }


def _outcome(found: Mapping[str, Any]) -> Outcome:
    if "not_run" in found:
        return str(found["not_run"])
    try:
        return Report.of_json(found)
    except (KeyError, TypeError):
        return "its report was written by another release"
