"""The report: whole, escaped, and drawable from whatever a run left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.measure.document import Document, Figure, MaskIou, Row
from bench.measure.page import page, write

CARD: dict[str, Any] = {
    "date": "2026-01-01T00:00:00+00:00", "cpu": "EPYC <&>", "cores": 2, "gpus": [],
    "versions": {"numpy": "2.1"}, "revision": "c0ffee1234567890", "dirty": True,
}  # fmt: skip
CLICK = Row(
    name='APSAM <script>alert(1)</script> & "co"',
    group="click, <tiny>",
    samples=[float(ms) for ms in np.random.default_rng(0).gamma(9, 1, 400)],
    mask_iou=MaskIou(num=4, minimum=0.9912, mean=0.9987),
    stages={"decode_1": [3.0] * 400, "queue": [0.5] * 400, "<odd>": [0.25] * 400},
    errors={"UNAVAILABLE": 2},
    figures={"rss_mb": 123.0},
    note="a <note>",
)


def document(*rows: Row) -> Document:
    return Document(
        benchmark="latency <x>",
        settings={"bundle": "<b>", "peers": ["predictor"], "rate": None, "quick": True},
        rows=rows,
        figures=[Figure(key="click_<ms>", value=3.1, low=3.0, high=3.2, detail="<detail>")],
        card=CARD,
        command="python -m bench.latency --html <here>",
    )


def loaded(rates: Sequence[float], *, answered: float) -> list[Row]:
    return [
        Row(
            name=f"open loop, {rate:g}/s",
            group="load",
            samples=[rate, 2 * rate],
            figures={"offered_per_s": rate, "rate_per_s": min(rate, answered)},
        )
        for rate in rates
    ]


def drawings(text: str) -> dict[str, ElementTree.Element]:
    """By what they show. Malformed ones do not parse."""
    found = [ElementTree.fromstring(one) for one in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    return {one.attrib["aria-label"]: one for one in found}


class Balanced(HTMLParser):
    """Every element but those without an end is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_report_is_one_whole_page_that_needs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    write(document(CLICK), path)
    text = path.read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    for forbidden in ("<script", "http:", "https:", "url(", "@import", " src=", " href="):
        assert forbidden not in text
    assert len(text) < 60_000


def test_speed_accuracy_errors_figures_and_conditions_are_all_on_it() -> None:
    text = page(document(CLICK))
    (line,) = re.findall(r"<tr><td>APSAM.*?</tr>", text)[:1]
    for words in ("400", "0.9912", "0.9987", "2 UNAVAILABLE", "rss mb 123", "a &lt;note&gt;"):
        assert words in line
    for words in (
        "python -m bench.latency --html &lt;here&gt;", "EPYC &lt;&amp;&gt;", "no GPU",
        "revision c0ffee1234 and changes", "95 %: 3.00 to 3.20", "numpy 2.1", "<td>yes</td>",
    ):  # fmt: skip
        assert words in text


def test_every_text_is_escaped() -> None:
    text = page(document(CLICK))
    for raw in ("<script>", "<tiny>", "<odd>", "<note>", "<x>", "<here>", "<detail>", "_<ms>"):
        assert raw not in text


def test_quantiles_that_have_too_few_samples_are_grey() -> None:
    text = page(document(CLICK))
    (line,) = re.findall(r"<tr><td>APSAM.*?</tr>", text)[:1]
    assert line.count('class="thin"') == 1


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], set()),
        ([Row(name="dead", samples=[], errors={"INTERNAL": 1})], set()),
        ([Row(name="nothing", samples=[0.0, 0.0])], set()),
        ([Row(name="one", samples=[3.0])], {"Distribution of latency", "Latency over time"}),
        ([Row(name="still", samples=[2.0] * 50)], {"Distribution of latency", "Latency over time"}),
        (
            [Row(name=f"row {i}", samples=[1.0 + i, 1e-4, 1e7]) for i in range(20)],
            {"Distribution of latency", "Latency over time"},
        ),
        (
            [CLICK],
            {"Distribution of latency", "Latency over time", "Mean time per stage"},
        ),
        (
            loaded([10, 20, 40], answered=30),
            {"Distribution of latency", "Latency over time", "Latency by throughput"},
        ),
    ],
    ids=["none", "dead", "zeros", "one", "still", "many", "click", "load"],
)
def test_what_can_be_drawn_is_drawn_inside_the_picture(rows: list[Row], expected: set[str]) -> None:
    found = drawings(page(document(*rows)))
    assert set(found) == expected
    for svg in found.values():
        _, _, width, height = (float(one) for one in svg.attrib["viewBox"].split())
        for mark in svg.iter("path"):
            for x, y in re.findall(r"[ML](\S+?) ([^ML]+?)(?=[MLh]|$)", mark.attrib["d"]):
                assert 0 <= float(x) <= width
                assert 0 <= float(y) <= height


def test_an_outlier_among_many_samples_is_seen() -> None:
    ms = [5.0] * 20_000
    ms[12_345] = 50.0
    text = page(document(Row(name="row", samples=ms)))
    (motes,) = drawings(text)["Latency over time"].findall("path[@class='mote c0']")
    heights = re.findall(r"M\S+ (\S+?)h0", motes.attrib["d"])
    assert len(heights) <= 300
    assert sorted(heights, key=float).count(min(heights, key=float)) == 1


def test_stages_add_up_to_the_mean_of_the_row() -> None:
    bars = drawings(page(document(CLICK)))["Mean time per stage"]
    titles = [one.text or "" for one in bars.iter("title")]
    names = [title.rpartition(" ms")[0].rpartition(" ")[0] for title in titles]
    assert names == ["queue", "decode_1", "<odd>", "not in a stage"]
    total = sum(float(title.split()[-2]) for title in titles)
    assert total == pytest.approx(np.mean(CLICK.samples), abs=0.02)


def test_where_less_was_answered_than_offered_the_mark_is_hollow() -> None:
    closed = Row(name="closed loop", group="load", samples=[1.0], figures={"rate_per_s": 30})
    text = page(document(closed, *loaded([10, 20, 40], answered=30)))
    assert '<i class="c0"></i>open loop, N/s' in text
    curve = drawings(text)["Latency by throughput"]
    assert len(curve.findall("circle")) == 2
    assert sum("dashed" in one.attrib["class"] for one in curve.iter("path")) == 1
