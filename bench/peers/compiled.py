"""SamPredictor with its image encoder and its mask decoder under torch.compile."""

from __future__ import annotations

import os
import shutil

import torch

from bench.peers.base import PeerUnavailableError, Source
from bench.peers.predictor import PredictorPeer
from bench.peers.sam_shape import ShapedSam


def open_peer(name: str, source: Source) -> PredictorPeer:
    """Compiles at the first image and the first click, which therefore take long.

    Raises PeerUnavailableError where nothing can be compiled.
    """
    check_compiler()
    torch.set_num_threads(source.threads)
    shaped = ShapedSam(source.checkpoint)
    compile_parts(shaped, mode="default")
    return PredictorPeer(name, shaped)


def compile_parts(shaped: ShapedSam, *, mode: str) -> None:
    """torch.compile what computes; between them stays what a prompt decides. A graph for each
    number of points, so that sizes are constants in both."""
    sam = shaped.sam
    sam.image_encoder.compile(mode=mode, dynamic=False)
    sam.mask_decoder.compile(mode=mode, dynamic=False)


def check_compiler() -> None:
    """Raise PeerUnavailableError unless torch.compile works on the CPU, which takes a C++ compiler
    and Python's headers."""
    program = os.environ.get("CXX", "g++")
    if shutil.which(program) is None:
        raise PeerUnavailableError(
            f"torch.compile needs a C++ compiler and {program!r} is not there; install g++ or set "
            "CXX"
        )
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(8))
    except Exception as error:  # the compiler's exceptions share no public base
        reason = str(error).strip().partition("\n")[0]
        raise PeerUnavailableError(f"torch.compile does not work here: {reason}") from error
