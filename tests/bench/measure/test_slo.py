"""SLOs: what they say, and what they say when they are not held."""

from __future__ import annotations

import pytest

from bench.measure.document import Document, Row
from bench.measure.slo import Slo, check, parse

ROWS = (
    Row(name="gRPC", group="click, tiny", samples=[float(ms) for ms in range(1, 101)]),
    Row(name="gRPC", group="encode, tiny", samples=[0.5], unit="s", errors={"UNAVAILABLE": 2}),
    Row(name="memory", samples=[100.0, 200.0], unit="MB"),
    Row(name="peer", group="peers", samples=[], note="not installed"),
    Row(name="dead", group="idle", samples=[], errors={"INTERNAL": 3}),
    Row(name="predictor", group="in turns: click, tiny", samples=[900.0], errors={"PEER": 9}),
    Row(name="gRPC, warm-up", group="warm-up", samples=[800.0], errors={"UNKNOWN": 1}),
)
RUN = Document(benchmark="latency", settings={}, rows=ROWS, card={}, command="")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p99=50ms", Slo(quantity="p99", limit=50, text="p99=50ms")),
        ("p50=2.5ms", Slo(quantity="p50", limit=2.5, text="p50=2.5ms")),
        ("p99.9=800us", Slo(quantity="p99.9", limit=0.8, text="p99.9=800us")),
        ("max = 1S", Slo(quantity="max", limit=1000, text="max = 1S")),
        ("errors=0", Slo(quantity="errors", limit=0, text="errors=0")),
        (
            "click, tiny:p99=50ms",
            Slo(quantity="p99", limit=50, rows="click, tiny", text="click, tiny:p99=50ms"),
        ),
        ("a:b=c:p50=1s", Slo(quantity="p50", limit=1000, rows="a:b=c", text="a:b=c:p50=1s")),
    ],
)
def test_an_slo_is_read_into_milliseconds_or_a_count(text: str, expected: Slo) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p99", "'p99' has no limit; write it like p99=50ms"),
        ("", "'' has no limit"),
        ("p95=50ms", "is about 'p95', expected one of mean, p50, p90, p99, p99.9, max and errors"),
        ("p99=50", "has the limit '50', expected a time with its unit (us, ms, s)"),
        ("p99=-1ms", "has the limit '-1ms'"),
        ("p99=fast", "has the limit 'fast'"),
        ("errors=1%", "allows '1%' errors, expected a whole number; write errors=0"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_fix(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="SLO") as caught:
        parse(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("click:p50=50.5ms", []),
        ("click:max=100ms", []),
        ("gRPC:p90=500ms", []),
        ("errors=3", []),
        ("p50=1s", ["p50=1s: idle: dead has no answers to judge, 3 errors"]),
        ("in turns:p50=1s", []),
        ("warm-up:max=1s", []),
        (
            "in turns: click:errors=0",
            ["in turns: click:errors=0: in turns: click, tiny: predictor had 9 errors (9 PEER)"],
        ),
        ("warm-up:p50=1ms", ["warm-up:p50=1ms: warm-up: gRPC, warm-up took 800 ms (p50 of 1)"]),
        ("click:errors=0", []),
        ("click:p50=50ms", ["click:p50=50ms: click, tiny: gRPC took 50.5 ms (p50 of 100)"]),
        ("encode:max=400ms", ["encode:max=400ms: encode, tiny: gRPC took 0.5 s (max of 1)"]),
        ("errors=2", ["errors=2: idle: dead had 3 errors (3 INTERNAL)"]),
        ("idle:p50=1s", ["idle:p50=1s: idle: dead has no answers to judge, 3 errors"]),
    ],
)
def test_a_violation_is_a_sentence_with_the_value_seen(text: str, expected: list[str]) -> None:
    assert check([parse(text)], RUN) == expected


@pytest.mark.parametrize(
    "text", ["clck:p99=1s", "memory:p99=1s", "clck:errors=0", "peers:errors=0"]
)
def test_an_slo_that_no_row_can_answer_is_violated(text: str) -> None:
    (sentence,) = check([parse(text)], RUN)
    begin = text.partition(":")[0]
    assert f"no row that begins with {begin!r} measures that" in sentence
    assert "'click, tiny'" in sentence


def test_an_slo_of_a_run_without_rows_is_violated() -> None:
    empty = Document(benchmark="latency", settings={}, rows=(), card={}, command="")
    assert check([parse("p99=1s")], empty) == [
        "p99=1s: no row measures that; the run has the rows none"
    ]


def test_every_row_and_every_slo_is_judged() -> None:
    assert len(check([parse("p50=1ms"), parse("errors=0"), parse("click:p50=1s")], RUN)) == 6
