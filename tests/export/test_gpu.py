"""Plans on a real GPU, held to the checkpoint by the gate: `make test-gpu`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from apsam_export.errors import ParityError
from apsam_export.gate.parity import check
from apsam_export.gate.reference import Reference
from apsam_export.gate.report import Outcome, Report
from apsam_export.gate.run import run_builds
from apsam_export.request import PlanForm
from apsam_serve.contract.manifest import Precision, open_bundle
from apsam_train.models import APSAM
from tests.export.gate.test_mutations import swap_colours
from tests.serve.runtime.planned import add_plans, need

pytestmark = pytest.mark.gpu

FORMS: tuple[PlanForm, ...] = ("tensorrt", "tensorrt_rtx")


def compared(
    exported: Path, folder: Path, form: PlanForm, precision: Precision, model: APSAM
) -> Outcome:
    """What the gate says of that one build of plans, compiled here."""
    path = shutil.copytree(exported, folder / "bundle")
    name = add_plans(path, form=form, precision=precision, cache=folder / "cache")
    bundle = open_bundle(path)
    only = replace(bundle.manifest, builds={name: bundle.manifest.builds[name]})
    reference = Reference.of(model)
    return run_builds(replace(bundle, manifest=only), reference, say=print)[name]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("form", FORMS)
def test_plans_pass_the_gate(
    bundle: Path, model: APSAM, form: PlanForm, precision: Precision, tmp_path: Path
) -> None:
    need(form)
    outcome = compared(bundle, tmp_path, form, precision, model)
    assert isinstance(outcome, Report), outcome
    print(outcome.summary())
    check(outcome)


@pytest.mark.parametrize("form", FORMS)
def test_plans_of_another_checkpoint_do_not(
    bundle: Path, model: APSAM, form: PlanForm, tmp_path: Path
) -> None:
    need(form)
    swap_colours(model)
    outcome = compared(bundle, tmp_path, form, "fp32", model)
    assert isinstance(outcome, Report), outcome
    with pytest.raises(ParityError, match=rf"{form} fp32 build on .*: .* differs from"):
        check(outcome)


def test_a_gpu_that_portable_plans_do_not_run_on_is_told_so(
    bundle: Path, model: APSAM, tmp_path: Path
) -> None:
    need("tensorrt_rtx", runs=False)
    outcome = compared(bundle, tmp_path, "tensorrt_rtx", "fp32", model)
    assert isinstance(outcome, str), outcome
    assert "tensorrt_rtx" in outcome or "failed on the GPU" in outcome
