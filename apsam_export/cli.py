"""`apsam-export --checkpoint F [--sam F] --out BUNDLE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from apsam_serve.errors import ApsamError

if TYPE_CHECKING:
    from apsam_export.parity import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Export; 0 on success, 1 when the accuracy gate fails, 2 on bad input, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="apsam-export", description="Turn a checkpoint into a bundle of three ONNX graphs."
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="model.safetensors")
    parser.add_argument(
        "--sam", type=Path, metavar="FILE", help="SAM file of a delta (default: the one beside it)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to create")
    args = parser.parse_args(argv)

    def say(line: str) -> None:
        print(f"apsam-export: {line}", file=sys.stderr)

    try:
        from apsam_export.export import export  # needs the libraries of the export extra
    except ModuleNotFoundError as error:
        say(f"error: {error.name} is not installed; pip install 'apsam[export]'")
        return 2
    try:
        report = export(args.checkpoint, args.out, sam=args.sam, say=say)
    except ApsamError as error:
        say(f"error: {error}")
        return 1 if error.reason == "PARITY" else 2
    except KeyboardInterrupt:
        say(f"interrupted; {args.out} was not written")
        return 130
    print(table(report))
    say(f"wrote {args.out}")
    return 0


def table(report: Report) -> str:
    """The parity report for people."""
    lines = [f"{'tensor':<16}{'max difference':>16}{'mean':>12}   (of the largest value)"]
    for name, difference in report.tensors.items():
        lines.append(f"{name:<16}{difference.max:>16.1e}{difference.mean:>12.1e}")
    lines.append(
        f"mask IoU to the checkpoint: min {report.mask_iou_min:.4f}, mean "
        f"{report.mask_iou_mean:.4f} over {report.num_prompts} prompts; "
        f"best-of-four flips {report.flips:.1%}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
