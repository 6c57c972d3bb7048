"""Threats of a DICOS threat detection report (TDR), one file per image in DICOM's JSON model
(PS3.18 F), which `pydicom.Dataset.from_json` and dcm4che's `json2dcm` take.

    <image>.tdr.json   the report's own attributes, as below
    index.csv          which file belongs to which image

    (4010,1027) TDRType                     OPERATOR: a person marked it
    (4010,1031) AlarmDecision               ALARM, or CLEAR for a finished image without objects
    (4010,1042) OOIType                     BAGGAGE
    (4010,1011) ThreatSequence              an item per object
      (4010,1010) PotentialThreatObjectID     its number in the image, from 1
      (4010,1037) PTORepresentationSequence   one item
        (4010,1001) ThreatROIVoxelSequence      one item
          (4010,1004) ThreatROIBase               x, y, z of the box's first pixel; z is 0
          (4010,1005) ThreatROIExtents            width, height, depth in pixels; depth is 1
        (4010,101D) BoundingPolygon             x, y, z of every corner, closed implicitly
      (4010,1038) ATDAssessmentSequence       one item
        (4010,1012) ThreatCategory              CONTRABAND, LAPTOP, or UNKNOWN without a category
        (4010,1013) ThreatCategoryDescription   the category of Table 7
        (4010,1015) ATDAssessmentFlag           THREAT

Corners are those of pixels, as in `outlines`. An outline of more than `MAX_CORNERS` is given by its
convex hull, for an attribute of numbers ends at 64 KB. There is no probability: a mask's score is
none of a threat. Identifiers, times, device and the reference to the scan are the station's to add.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from apsam_serve.console.exports.contents import Annotated, label_of, mask_of
from apsam_serve.console.exports.files import write_csv
from apsam_serve.console.exports.outlines import Ring, polygon
from apsam_serve.console.rows import ObjectRow
from apsam_serve.contract.masks import Mask

Dataset = dict[str, dict[str, Any]]
MAX_CORNERS: Final = (2**16 - 2) // (3 * 4)
"""Of x, y and z in 4 bytes each."""


def write(contents: Sequence[Annotated], folder: Path) -> None:
    """Write the reports and their index."""
    rows = []
    for entry in contents:
        name = f"{entry.stem}.tdr.json"
        (folder / name).write_text(json.dumps(_report(entry), indent=1) + "\n", encoding="utf-8")
        rows.append((name, entry.image.name, entry.image.sha256, len(entry.objects)))
    write_csv(folder / "index.csv", ("file", "image", "image_sha256", "threats"), rows)


def bounding_polygon(mask: Mask) -> Ring:
    """A closed line int64 [n, 2] around a mask bool [H, W], of at most `MAX_CORNERS`."""
    corners = polygon(mask)
    if len(corners) <= MAX_CORNERS:
        return corners
    hull: Ring = np.asarray(cv2.convexHull(corners.astype(np.int32)), np.int64)[:, 0]
    return hull


def _report(entry: Annotated) -> Dataset:
    threats = [_threat(number, one) for number, one in enumerate(entry.objects, start=1)]
    report = {
        "40101027": _element("CS", "OPERATOR"),
        "40101031": _element("CS", "ALARM" if threats else "CLEAR"),
        "40101042": _element("CS", "BAGGAGE"),
    }
    return {"40101011": _element("SQ", *threats), **report} if threats else report


def _threat(number: int, one: ObjectRow) -> Dataset:
    box = one.box
    points = np.pad(bounding_polygon(mask_of(one)), ((0, 0), (0, 1))).ravel().tolist()
    region = {
        "40101004": _element("FL", box.left, box.top, 0),
        "40101005": _element("FL", box.right - box.left, box.bottom - box.top, 1),
    }
    shape = {"40101001": _element("SQ", region), "4010101D": _element("FL", *points)}
    return {
        "40101010": _element("US", number),
        "40101037": _element("SQ", shape),
        "40101038": _element("SQ", _assessment(one)),
    }


def _assessment(one: ObjectRow) -> Dataset:
    known = "LAPTOP" if one.category == "Laptop" else "CONTRABAND"
    return {
        "40101012": _element("CS", known if one.category else "UNKNOWN"),
        "40101013": _element("LT", label_of(one)),
        "40101015": _element("CS", "THREAT"),
    }


def _element(kind: str, *values: object) -> dict[str, Any]:
    return {"vr": kind, "Value": list(values)}
