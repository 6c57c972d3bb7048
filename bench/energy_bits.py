"""What 8 bits do to the energy query: `python -m bench.energy_bits [CHECKPOINT ...]`.

Synthetic bags are scanned at a model's own side, and the Energy-Aware Encoder answers for the pair
of transmissions in single precision, for the same pair as the service rounds it to 8 bits, for a
second scan of the same bag (other noise, same scanner), and for the pseudo-colour picture, from
which training takes its energies. The table shows how far the query moves from the first, relative
to its length, and how many of the k strongest places stay. Fresh weights stand beside checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from apsam_serve.contract.inputs import DualEnergyInput, load
from apsam_train.checkpoint import load_checkpoint
from apsam_train.models.build import PRESETS
from apsam_train.models.energy_encoder import EnergyAwareEncoder, LocationInitializer, energies
from apsam_train.synth.scanner import ScannerConfig, scan
from apsam_train.synth.scene import compose
from apsam_train.synth.spectrum import spectrum
from apsam_train.synth.transmission import transmission_images
from bench.measure.rounds import told

SCANNER = ScannerConfig(
    photons=(6e4, 6e4),
    electronic_lsb=(4, 4),
    blur_across_px=(0.5, 0.5),
    blur_along_px=(0.5, 0.5),
    residual_scatter=(0.003, 0.003),
    gain_error=(0.001, 0.001),
    dead_row_chance=0,
)
ROWS = ("8 bits", "second scan", "picture")
Readings = NDArray[np.uint16]
Parts = tuple[EnergyAwareEncoder, LocationInitializer]


def fresh(name: str) -> Parts:
    """Parts of a preset with random weights; the projection too, which training starts at zero."""
    preset = PRESETS[name]
    torch.manual_seed(0)
    encoder = EnergyAwareEncoder(preset.energy_widths)
    initializer = LocationInitializer(
        width=preset.energy_widths[-1], top_k=preset.top_k, embed_dim=preset.embed_dim
    )
    nn.init.normal_(initializer.project.weight, std=0.02)
    return encoder, initializer


def single(low: Readings, high: Readings) -> Tensor:
    """The pair as it is, float32 [1, 2, S, S]; the low energy at most the high, as in 8 bits."""
    planes = np.stack([high, np.minimum(low, high)]).astype(np.float32) / 65535
    return torch.from_numpy(planes)[None]


def looks(side: int, seed: int) -> dict[str, Tensor]:
    """What the encoder is shown of one bag, float32 [1, 2, S, S] each."""
    rng = np.random.default_rng([seed, 0])
    scene = compose(side, (2, 6), 1.0, rng)
    ideal = transmission_images(scene.canvas.layers, (side, side), spectrum())
    low, high = scan(*ideal, SCANNER, rng)
    given = DualEnergyInput(width=side, height=side, high=high.tobytes(), low=low.tobytes())
    pixels = load(given, max_pixels=side * side)
    return {
        "single": single(low, high),
        "8 bits": energies(torch.from_numpy(pixels.energy)[None]),
        "second scan": single(*scan(*ideal, SCANNER, rng)),
        "picture": energies(torch.from_numpy(pixels.image)[None]),
    }


@torch.no_grad()
def measure(parts: Parts, side: int, num_images: int) -> dict[str, tuple[float, float, float]]:
    """Per row: mean and largest relative difference of the query, share of places that stay."""
    encoder, initializer = parts
    moved: dict[str, list[float]] = {row: [] for row in ROWS}
    kept: dict[str, list[float]] = {row: [] for row in ROWS}
    for seed in told(range(num_images), f"bags of {side} px"):
        answers = {name: initializer(encoder(look)) for name, look in looks(side, seed).items()}
        query, attention = answers["single"]
        places = set(attention.flatten().topk(initializer.top_k).indices.tolist())
        for row in ROWS:
            other, elsewhere = answers[row]
            moved[row].append(float((other - query).norm() / query.norm()))
            found = elsewhere.flatten().topk(initializer.top_k).indices.tolist()
            kept[row].append(len(places.intersection(found)) / initializer.top_k)
    return {
        row: (float(np.mean(moved[row])), max(moved[row]), float(np.mean(kept[row])))
        for row in ROWS
    }


def main() -> None:
    """Scan, encode, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoints", nargs="*", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--num-images", type=int, default=40)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    subjects = {
        "fresh tiny, 256 px": (fresh("tiny"), 256),
        "fresh vit_l, 1024 px": (fresh("vit_l"), 1024),
    }
    for path in args.checkpoints:
        model, _ = load_checkpoint(path)
        side = model.preset.side
        parts = (model.energy_encoder.eval(), model.location_initializer.eval())
        subjects[f"{path}, {side} px"] = (parts, side)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"
    print(f"{machine}; torch {torch.__version__}; {args.num_images} bags, 8 at 1024 px")
    print(f"{'':<52}{'mean':>9}{'max':>9}{'places':>8}")
    results = {}
    for name, (parts, side) in subjects.items():
        results[name] = measure(parts, side, 8 if side == 1024 else args.num_images)
        for row, (mean, most, stay) in results[name].items():
            print(f"{name:<40}{row:<12}{mean:9.4f}{most:9.4f}{stay:8.3f}")
    print(json.dumps({"benchmark": "energy_bits", "results": results, "machine": machine}))


if __name__ == "__main__":
    main()
