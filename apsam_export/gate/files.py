"""The reports of a bundle's builds as files: parity.json for programs, parity.html for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from apsam_export.gate.page import page
from apsam_export.gate.report import Report
from apsam_serve.contract.manifest import Manifest

JSON_FILE, PAGE_FILE = "parity.json", "parity.html"


def write_reports(folder: Path, outcomes: Mapping[str, Report | str]) -> None:
    """Write both files. A reason stands for a build that was not run."""
    document = {
        name: {"not_run": found} if isinstance(found, str) else found.to_json()
        for name, found in outcomes.items()
    }
    (folder / JSON_FILE).write_text(json.dumps(document, indent=2) + "\n")
    (folder / PAGE_FILE).write_text(page(outcomes))


def read_reports(folder: Path, manifest: Manifest) -> dict[str, Report | str]:
    """What parity.json says of each build, without pictures."""
    document = json.loads((folder / JSON_FILE).read_text())
    return {
        name: found["not_run"] if "not_run" in found else Report.of_json(found)
        for name in manifest.builds
        for found in (document.get(name, {"not_run": "no report of it was kept"}),)
    }
