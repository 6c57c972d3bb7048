"""Options are refused as they are read, and what cannot be done ends with a sentence."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.errors import BundleError
from bench import apg, cold_start, encoder, memory, service_cost, stations, store_churn, transport
from bench.measure.options import above_zero, guarded, model_at, positive, positives


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [(positive, "12", 12), (positives, "1,8,1", [1, 8]), (above_zero, "0.5", 0.5)],
)
def test_a_number_is_read(read: Callable[[str], Any], text: str, expected: object) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (positive, "0", "0: expected a whole number above 0"),
        (positive, "1.5", "1.5: expected a whole number above 0"),
        (positives, "1,x", "x: expected a whole number above 0"),
        (positives, "", ": expected a whole number above 0"),
        (above_zero, "nan", "nan: expected a number above 0"),
        (above_zero, "soon", "soon: expected a number above 0"),
    ],
)
def test_what_is_no_such_number_is_refused(
    read: Callable[[str], Any], text: str, says: str
) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        read(text)
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (apg.main, ["--rounds", "0"]),
        (apg.main, ["--masks", "0"]),
        (cold_start.main, ["--rounds", "0"]),
        (encoder.main, ["--batches", "0"]),
        (encoder.main, ["--rounds", "0"]),
        (memory.main, ["--held", "0"]),
        (service_cost.main, ["--rounds", "0"]),
        (stations.main, ["--stations", "0,x"]),
        (store_churn.main, ["--entries", "x"]),
        (transport.main, ["--rounds", "-1"]),
    ],
)
def test_a_benchmark_refuses_to_measure_nothing(
    main: Callable[[Sequence[str]], int], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert f"argument {words[0]}: " in capsys.readouterr().err


@pytest.mark.parametrize("main", [cold_start.main, memory.main, service_cost.main, stations.main])
def test_a_bundle_that_is_none_ends_it_with_what_is_missing(
    main: Callable[[Sequence[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--bundle", str(tmp_path)]) == 1
    assert "error: " in (said := capsys.readouterr().err)
    assert "manifest.json" in said


def test_a_bundle_that_was_given_says_what_it_is_of(tiny_bundle: Path) -> None:
    found = model_at(tiny_bundle)
    assert (found.bundle, found.preset) == (tiny_bundle, "tiny")
    assert found.weights == "those of the bundle that was given"


def test_a_mistake_of_ours_is_not_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    def raising(error: Exception) -> int:
        @guarded
        def main(argv: Sequence[str] | None = None) -> int:
            raise error

        return main(())

    assert raising(BundleError("gone")) == 1
    assert capsys.readouterr().err == "test_options: error: gone\n"
    with pytest.raises(KeyError):
        raising(KeyError("x"))
