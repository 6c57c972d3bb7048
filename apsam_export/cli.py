"""`apsam-export`: write a bundle, check one again, or say what is in it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsam_export.kernels import ARCHITECTURES
from apsam_serve.contract.manifest import MANIFEST_NAME
from apsam_serve.errors import ApsamError
from apsam_serve.progress import Progress
from apsam_train.results import add_json, give
from apsam_train.tables import Table

if TYPE_CHECKING:
    from apsam_export.gate.report import Outcome

_FAILURES = {"PARITY", "RANGE"}
"""Reasons that say: the model and this export do not fit; all others are the caller's."""
_OF_EXPORT = {
    "sam": "--sam",
    "out": "--out",
    "precision": "--precision",
    "plans": "--trt or --rtx",
    "kernels": "--kernels",
    "plan_cache": "--plan-cache",
    "sign": "--sign",
}


def main(argv: Sequence[str] | None = None) -> int:
    """0 on success, 1 when a build fails the gate or FP16 is too narrow, 2 on bad input, 130
    interrupted. With --json the outcome, an error too, is one JSON document on standard output."""
    parser = _parser()
    args = parser.parse_args(argv)
    _check_modes(parser, args)
    try:
        if args.inspect:
            return _inspect(args.inspect, as_json=args.json)
        if args.verify:
            return _verify(args.verify, record=args.record, as_json=args.json)
        return _export(args)
    except ModuleNotFoundError as error:
        extra = "export" if args.checkpoint else "serve"
        _say(f"error: {error.name} is not installed; pip install 'apsam[{extra}]'")
        return 2
    except ApsamError as error:
        _say(f"error: {error}")
        if args.json:
            print(json.dumps({"error": {"reason": error.reason, "message": str(error)}}))
        return 1 if error.reason in _FAILURES else 2
    except KeyboardInterrupt:
        _say(_interrupted(args.out))
        return 130


def _interrupted(out: Path | None) -> str:
    if out is None:
        return "interrupted"
    complete = (out / MANIFEST_NAME).is_file()
    return f"interrupted; {out} {'lacks its signature' if complete else 'was not written'}"


def table(outcomes: Mapping[str, Outcome]) -> Table:
    """The gate's findings for people, a build a line."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for name, found in outcomes.items():
        if isinstance(found, str):
            rows.append((name, "not run", *("-",) * 6))
            notes.append(f"{name} was not run: {found}")
            continue
        largest = max(tensor.max for tensor in found.tensors.values())
        ious = (f"{found.mask_iou.min:.4f}", f"{found.mask_iou.mean:.4f}")
        shares = (found.flips, found.clear_flips, found.same_points)
        verdict = "passed" if found.passed else "FAILED"
        rows.append((name, verdict, f"{largest:.1e}", *ious, *(f"{one:.1%}" for one in shares)))
        notes += [f"{name}: {failure}" for failure in found.failures()]
    columns = ("build", "verdict", "tensors", "mask IoU min", "mean", "flips", "clear")
    return Table(columns=(*columns, "same points"), rows=rows, notes=notes)


def document(bundle: Path, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """The same in plain values; what was not run says why."""
    builds = {
        name: {"not_run": found} if isinstance(found, str) else found.to_json()
        for name, found in outcomes.items()
    }
    return {"bundle": bundle, "builds": builds}


def _export(args: argparse.Namespace) -> int:
    from apsam_export.export import export  # needs the libraries of the export extra
    from apsam_export.request import Request

    request = Request(
        twins=tuple(dict.fromkeys(args.precision)),
        plans=tuple(dict.fromkeys(args.plans)),
        kernels=tuple(name for name in args.kernels.split(",") if name),
        plan_cache=args.plan_cache,
        sign_with=args.sign,
    )
    with Progress("export") as bar:
        say = _on(bar)
        outcomes = export(args.checkpoint, args.out, sam=args.sam, request=request, say=say)
    give(document(args.out, outcomes), table(outcomes), as_json=args.json)
    _say(f"wrote {args.out}")
    return 0


def _verify(bundle: Path, *, record: bool, as_json: bool) -> int:
    from apsam_export.gate.verify import failed, verify

    with Progress("verify") as bar:
        outcomes = verify(bundle, record=record, say=_on(bar))
    give(document(bundle, outcomes), table(outcomes), as_json=as_json)
    for name in failed(outcomes):
        _say(f"error: build {name} fails here; do not serve it from this machine")
    return 1 if failed(outcomes) else 0


def _inspect(bundle: Path, *, as_json: bool) -> int:
    from apsam_export import inspection

    found = inspection.inspect(bundle)
    give(found, inspection.table(found), as_json=as_json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="apsam-export",
        description="Turn a checkpoint into a bundle, check a bundle again, or list what is in it.",
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--checkpoint", type=Path, metavar="FILE", help="model.safetensors to export")
    mode.add_argument(
        "--verify", type=Path, metavar="BUNDLE", help="check hashes, specs and numbers again"
    )
    mode.add_argument("--inspect", type=Path, metavar="BUNDLE", help="list builds, graphs, FLOPs")
    group = parser.add_argument_group("with --checkpoint")
    group.add_argument("--out", type=Path, metavar="BUNDLE", help="folder to create")
    group.add_argument(
        "--sam", type=Path, metavar="FILE", help="SAM file of a delta (default: the one beside it)"
    )
    group.add_argument(
        "--precision",
        action="append",
        choices=("fp16", "bf16"),
        default=[],
        help="a typed twin beside FP32; may be given twice",
    )
    for option, form, text in (
        ("--trt", "tensorrt", "TensorRT plans for this machine's GPU"),
        ("--rtx", "tensorrt_rtx", "portable TensorRT-RTX plans"),
    ):
        group.add_argument(
            option, dest="plans", action="append_const", const=form, default=[], help=text
        )
    group.add_argument(
        "--kernels",
        nargs="?",
        const=",".join(ARCHITECTURES),
        default="",
        metavar="ARCH,...",
        help="compile GPU kernels, as sm_80,sm_89 (without a list: %(const)s)",
    )
    group.add_argument(
        "--plan-cache", type=Path, metavar="DIR", help="plans to use again (default: the user's)"
    )
    group.add_argument("--sign", type=Path, metavar="KEY.pem", help="sign the bundle: BUNDLE.sig")
    parser.add_argument(
        "--record", action="store_true", help="with --verify: write what was found into the bundle"
    )
    add_json(parser)
    return parser


def _check_modes(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with exit code 2 where options of different modes are mixed."""
    if args.checkpoint and not args.out:
        parser.error("--checkpoint needs --out BUNDLE, the folder to create")
    foreign = [name for name in _OF_EXPORT if getattr(args, name)] if not args.checkpoint else []
    if args.record and not args.verify:
        parser.error("--record goes with --verify alone")
    if foreign:
        options = ", ".join(_OF_EXPORT[name] for name in foreign)
        parser.error(f"{options}: with --checkpoint alone")


def _on(bar: Progress) -> Callable[[str], None]:
    """Lines that stay, the last of them also on the bar: what is being done now."""

    def say(line: str) -> None:
        bar.show(None, line)
        _say(line)

    return say


def _say(line: str) -> None:
    print(f"apsam-export: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
