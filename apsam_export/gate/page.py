"""parity.html: the gate's figures on one page, with pictures of the worst cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from apsam_export.gate.pictures import PANELS, data_uri, draw
from apsam_export.gate.report import Case, Outcome, Report

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #111; background: #fff; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem;
  border-top: 1px solid #999; padding-top: 1rem; } h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
table { border-collapse: collapse; margin: .4rem 0; }
th, td { text-align: right; padding: .15rem .7rem .15rem 0; font-variant-numeric: tabular-nums; }
th { border-bottom: 1px solid #999; font-weight: 600; } th:first-child, td:first-child
  { text-align: left; } .tables { display: flex; flex-wrap: wrap; gap: 0 3rem; align-items: start; }
.no { font-weight: 700; text-decoration: underline; } ul { margin: .3rem 0; }
figure { margin: .9rem 0 1.3rem; } figcaption { font-size: .9rem; margin-bottom: .3rem; }
.panels { display: grid; grid-template-columns: repeat(4, 1fr); gap: .3rem .8rem;
  align-items: start; font-size: .8rem; color: #444; }
img { max-width: 100%; display: block; border: 1px solid #ccc; }
.note { color: #444; font-size: .9rem; }
@media print { h2 { break-before: auto; } figure { break-inside: avoid; } }
"""
_NOTE = (
    "Masks are compared in image pixels, token by token: where two tokens are predicted (nearly) "
    "the same IoU, either is as good to the model, and a flip between them is counted, not judged. "
    "A tensor's difference is relative to the largest value of the reference. In pictures: + a "
    "click, \u00d7 what the object is not, dots the adaptive points; difference: grey both, black "
    "the reference alone, orange the build alone."
)


def page(reports: Mapping[str, Outcome]) -> str:
    """The whole page as HTML without scripts or other files. A reason stands for a build that was
    not run."""
    parts = "".join(
        _build(name, found) for name, found in reports.items() if isinstance(found, Report)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Parity</title>'
        f"<style>{_STYLE}</style></head><body><h1>Does every build compute what the checkpoint "
        f'computes?</h1>{_overview(reports)}<p class="note">{_NOTE}</p>{parts}</body></html>\n'
    )


def _overview(reports: Mapping[str, Outcome]) -> str:
    head = (
        "build",
        "verdict",
        "tensors within",
        "mask IoU min",
        "mean",
        "flips",
        "clear",
        "same points",
    )
    rows = []
    for name, found in reports.items():
        if isinstance(found, str):
            rows.append([escape(name), "not run", *[""] * (len(head) - 2)])
            continue
        rows.append(
            [
                escape(name),
                "passed" if found.passed else '<span class="no">FAILED</span>',
                f"{max(tensor.max for tensor in found.tensors.values()):.1e}",
                f"{found.mask_iou.min:.4f}",
                f"{found.mask_iou.mean:.4f}",
                f"{found.flips:.1%}",
                f"{found.clear_flips:.1%}",
                f"{found.same_points:.1%}",
            ]
        )
    reasons = [
        f"<b>{escape(name)}</b> was not run: {escape(found)}"
        for name, found in reports.items()
        if isinstance(found, str)
    ]
    return _table(head, rows) + _list(reasons)


def _build(name: str, report: Report) -> str:
    facts = (
        f"{report.build}, held to {report.reference}, on {report.ran_on}; "
        f"{report.mask_iou.num_prompts} prompts over {report.num_images} pictures, "
        f"{report.num_clear} with a clear choice of the best mask. What a user gets, flipped ties "
        f"and all: mask IoU min {report.answer_iou.min:.4f}, mean {report.answer_iou.mean:.4f}. "
        f"Adaptive points moved by at most {report.points_distance:.1f} cells. In "
        f"{report.num_other_places} pictures the energy query is made of other places, in a tie of "
        "attention; those queries are judged by their masks alone."
    )
    failures = [f'<span class="no">{escape(one)}</span>' for one in report.failures()]
    cases = "".join(_case(case) for case in report.worst)
    pictures = f"<h3>Worst cases</h3>{cases}" if cases else ""
    return (
        f"<h2>{escape(name)}</h2><p>{escape(facts)}</p>{_list(failures)}"
        f'<div class="tables">{_tensors(report)}{_masks(report)}</div>{pictures}'
    )


def _tensors(report: Report) -> str:
    limit = report.thresholds
    rows = [
        [escape(name), f"{tensor.max:.1e}", f"{tensor.mean:.1e}"]
        for name, tensor in report.tensors.items()
    ]
    rows.append(["accepted", f"{limit.max_difference:.0e}", f"{limit.mean_difference:.0e}"])
    return _table(("tensor", "max", "mean"), rows)


def _masks(report: Report) -> str:
    limit = report.thresholds
    rows = [
        [escape(kind), str(found.num_prompts), f"{found.min:.4f}", f"{found.mean:.4f}"]
        for kind, found in report.masks.items()
    ]
    rows.append(["needed over all", "", f"{limit.min_mask_iou:g}", f"{limit.mean_mask_iou:g}"])
    return _table(("mask IoU of", "prompts", "min", "mean"), rows)


def _case(case: Case) -> str:
    choice = " (a tie)" if case.tied else ""
    flipped = f", another of the four is best{choice}" if case.flipped else ""
    text = f"picture {case.picture}, {case.kind}: IoU {case.mask_iou:.4f}{flipped}"
    panels = "".join(
        f'<div>{escape(head)}<img alt="{escape(head)}" src="{data_uri(panel)}"></div>'
        for head, panel in zip(PANELS, draw(case), strict=True)
    )
    caption = f"<figcaption>{escape(text)}</figcaption>"
    return f'<figure>{caption}<div class="panels">{panels}</div></figure>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _list(items: Sequence[str]) -> str:
    """Items are HTML already."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>" if items else ""
