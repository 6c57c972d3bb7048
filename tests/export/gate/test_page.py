"""parity.html: one file, readable by itself."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html import escape

import cv2
import numpy as np
import pytest

from apsam_export.gate.page import page
from apsam_export.gate.parity import compare
from apsam_export.gate.pictures import PANELS, draw
from apsam_export.gate.reference import Reference
from apsam_export.gate.report import Report
from apsam_export.gate.samples import sample
from apsam_export.gate.thresholds import THRESHOLDS
from apsam_serve.runtime.fake import FakeRunner
from tests.export.gate.test_parity import SPEC, Altered, grown


@pytest.fixture(scope="module")
def report() -> Report:
    """Of a build whose masks are a cell too large."""
    reference = Reference.of_runner(FakeRunner(SPEC))
    return compare(reference, Altered(decoded=grown), THRESHOLDS["fp32"])


def test_the_page_tells_verdicts_figures_and_reasons_and_needs_no_other_file(
    report: Report,
) -> None:
    shown = page({"fp16": report, "<plan>": "no GPU & no driver"})
    assert "FAILED" in shown
    assert f"{report.mask_iou.min:.4f}" in shown
    assert all(escape(failure) in shown for failure in report.failures())
    assert "<b>&lt;plan&gt;</b> was not run: no GPU &amp; no driver" in shown
    assert re.findall(r'(?:src|href)="(?!data:)', shown) == []
    assert "<script" not in shown
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    assert len(pictures) == len(PANELS) * len(report.worst)
    for picture in pictures:
        data = np.frombuffer(base64.b64decode(picture), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).size


def test_a_report_read_from_a_file_has_a_page_without_pictures(report: Report) -> None:
    shown = page({"fp16": Report.of_json(report.to_json())})
    assert "<img" not in shown
    assert f"{report.mask_iou.min:.4f}" in shown


def test_pictures_show_the_part_of_the_image_that_differs(report: Report) -> None:
    case = report.worst[0]
    image, reference, built, difference = draw(case)
    assert image.shape == reference.shape == built.shape == difference.shape
    orange = (difference == (230, 110, 0)).all(axis=2)
    scale = np.count_nonzero(orange) / np.count_nonzero(case.built & ~case.reference)
    area = difference.shape[0] * difference.shape[1] / scale
    assert area < 0.5 * case.reference.size
    assert not (difference == 0).all(axis=2).any()


@pytest.mark.parametrize("box", [False, True])
def test_an_empty_mask_and_a_box_are_drawn_too(report: Report, box: bool) -> None:
    one = sample(0, side=64)
    (prompt,) = [about.prompt for about in one.prompts if about.kind == ("box" if box else "small")]
    empty = np.zeros(one.image.shape[:2], bool)
    case = replace(report.worst[0], image=one.image, prompt=prompt, reference=empty, built=empty)
    assert (draw(case)[0] == 0).all(axis=2).any()
