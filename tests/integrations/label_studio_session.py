"""Run in Label Studio's own environment: make projects, connect the back end, ask for predictions.

`python label_studio_session.py LABEL_STUDIO_URL LEGACY_TOKEN BACKEND_URL IMAGE CONTEXT TASKS
CONFIG...` prints one JSON document. CONTEXT is the JSON list of smart regions, TASKS a file to
import into another project of the first CONFIG.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import requests
from label_studio_sdk.converter import brush

_TIMEOUT_S = 60


class Studio:
    """Label Studio's REST API for one user."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Token {token}"

    def call(self, method: str, path: str, **given: Any) -> Any:
        reply = self._session.request(method, self._url + path, timeout=_TIMEOUT_S, **given)
        if not reply.ok:
            raise SystemExit(f"{method} {path} answers {reply.status_code}: {reply.text[:2000]}")
        return reply.json()


def project_of(studio: Studio, config: str, file: Path) -> tuple[int, int]:
    """The ids of a project and of its one task, imported from a file."""
    wanted = {"title": "bags", "label_config": config}
    project = studio.call("POST", "/api/projects", json=wanted)["id"]
    with file.open("rb") as opened:
        studio.call("POST", f"/api/projects/{project}/import", files={"file": opened})
    (task,) = studio.call("GET", f"/api/tasks?project={project}&fields=all")["tasks"]
    return project, task["id"]


def reviewed(studio: Studio, config: str, tasks: Path) -> Any:
    """Imported masks as they are stored, and as they are exported once they were accepted."""
    project, task = project_of(studio, config, tasks)
    (stored,) = studio.call("GET", f"/api/predictions?task={task}")
    studio.call(
        "POST",
        f"/api/dm/actions?id=predictions_to_annotations&project={project}",
        json={"selectedItems": {"all": True, "excluded": []}},
    )
    exported = studio.call("GET", f"/api/projects/{project}/export?exportType=JSON")
    return {"masks": [pixels(region) for region in stored["result"]], "exported": exported}


def annotated(studio: Studio, config: str, backend: str, image: Path, context: Any) -> Any:
    """A project with one uploaded image: what a click on it and a batch of predictions give."""
    project, task = project_of(studio, config, image)
    model = studio.call(
        "POST",
        "/api/ml",
        json={"url": backend, "project": project, "title": "APSAM", "is_interactive": True},
    )
    click = studio.call(
        "POST",
        f"/api/ml/{model['id']}/interactive-annotating",
        json={"task": task, "context": {"result": context}},
    )
    studio.call(
        "POST",
        f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}",
        json={"selectedItems": {"all": True, "excluded": []}},
    )
    stored = studio.call("GET", f"/api/predictions?task={task}")
    return {"state": model["state"], "click": click, "stored": stored}


def pixels(region: Any) -> list[list[int]]:
    """A brush region as its converter reads it: rows of 0 and 255."""
    rows = brush.decode_rle(region["value"]["rle"])
    shape = region["original_height"], region["original_width"], 4
    decoded: list[list[int]] = rows.reshape(shape)[:, :, 3].tolist()
    return decoded


def main() -> None:
    url, token, backend, image, context, tasks, *configs = sys.argv[1:]
    studio = Studio(url, token)
    projects = [
        annotated(studio, config, backend, Path(image), json.loads(context)) for config in configs
    ]
    for region in projects[0]["click"].get("data", {}).get("result", []):
        region["pixels"] = pixels(region)
    review = reviewed(studio, configs[0], Path(tasks))
    print(json.dumps({"projects": projects, "review": review}))


if __name__ == "__main__":
    main()
