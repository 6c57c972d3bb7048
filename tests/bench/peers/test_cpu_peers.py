"""Peers on the CPU answer what ours answers; those that cannot run say why."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from apsam_serve.contract.masks import mask_iou
from apsam_serve.contract.prompts import Box, Point, Prompt
from bench.peers import ON_CPU, ON_GPU, PEERS, open_peers
from bench.peers.apsam import SegmenterPeer
from bench.peers.base import Source
from bench.peers.gpu import in_type
from bench.peers.predictor import PredictorPeer
from bench.peers.sam_shape import ShapedSam

CLICKS = [(10, 12), (40, 20), (33, 50)]


@pytest.mark.parametrize("name", ["predictor", "onnx_decoder"])
def test_a_peer_returns_our_mask_and_our_points(
    name: str, source: Source, ours: SegmenterPeer, noise: NDArray[np.uint8]
) -> None:
    with open_peers([name], checkpoint=source.checkpoint, threads=1) as peers:
        peer = peers[name]
        for image in (noise, noise[::-1].copy()):
            peer.encode(image)
            ours.encode(image)
            for x, y in CLICKS:
                theirs, answer = peer.click(Prompt.click(x, y)), ours.click(Prompt.click(x, y))
                assert mask_iou(theirs.mask, answer.mask) >= 0.99
                np.testing.assert_allclose(theirs.points, answer.points, atol=1e-3)
                assert {"decode_1", "points", "decode_2"} <= set(theirs.stages)


@pytest.mark.parametrize("name", ["predictor", "onnx_decoder"])
def test_a_letter_boxed_image_has_the_same_points_and_a_mask_of_its_size(
    name: str, source: Source, ours: SegmenterPeer, noise: NDArray[np.uint8]
) -> None:
    wide = noise[:40]
    with open_peers([name], checkpoint=source.checkpoint, threads=1) as peers:
        peers[name].encode(wide)
        ours.encode(wide)
        theirs, answer = (peer.click(Prompt.click(20, 20)) for peer in (peers[name], ours))
    assert theirs.mask.shape == (40, 64)
    assert mask_iou(theirs.mask, answer.mask) >= 0.99
    np.testing.assert_allclose(theirs.points, answer.points, atol=1e-3)


def test_another_type_answers_nearly_the_same(
    source: Source, ours: SegmenterPeer, noise: NDArray[np.uint8]
) -> None:
    shaped = ShapedSam(source.checkpoint)
    in_type(shaped, torch.bfloat16)
    peer = PredictorPeer("bf16", shaped)
    peer.encode(noise)
    ours.encode(noise)
    theirs, answer = (one.click(Prompt.click(40, 20)) for one in (peer, ours))
    assert mask_iou(theirs.mask, answer.mask) > 0.8


def test_peers_compute_with_the_threads_they_were_given(source: Source) -> None:
    def threads(*kinds: str) -> set[int]:
        found = threadpool_info()
        return {library["num_threads"] for library in found if library["user_api"] in kinds}

    before = threads("blas")
    with open_peers(["predictor", "predictor"], checkpoint=source.checkpoint, threads=3) as peers:
        assert list(peers) == ["predictor"]
        assert threads("blas", "openmp") == {3}
    assert threads("blas") == before


def test_every_name_has_a_module_and_a_list(source: Source) -> None:
    assert set(PEERS) == {"grpc", "in_process", *ON_CPU, *ON_GPU}
    with pytest.raises(ValueError, match=r"peer 'sam3' is unknown; choose of grpc, .*predictor"):
        open_peers(["sam3"], checkpoint=source.checkpoint)


def test_a_peer_without_its_compiler_is_left_out_with_the_reason(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with open_peers(["compiled", "predictor"], checkpoint=source.checkpoint, threads=1) as peers:
        assert list(peers) == ["predictor"]
        assert "'no-such-compiler' is not there; install g++" in peers.left_out["compiled"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU, which nothing refuses")
def test_peers_on_a_gpu_are_left_out_without_one(source: Source) -> None:
    with open_peers(ON_GPU, checkpoint=source.checkpoint) as peers:
        assert not peers
        assert all("needs an NVIDIA GPU" in peers.left_out[name] for name in ON_GPU)


@pytest.mark.parametrize(("name", "lacks"), [("grpc", "no address"), ("in_process", "no bundle")])
def test_ours_asks_for_what_it_runs_on(name: str, lacks: str, source: Source) -> None:
    with pytest.raises(ValueError, match=f"peer '{name}' has {lacks}; give"):
        open_peers([name], checkpoint=source.checkpoint)


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(points=(Point(x=1, y=1), Point(x=2, y=2))),
        Prompt(points=(Point(x=1, y=1, positive=False),)),
        Prompt(points=(Point(x=1, y=1),), box=Box(left=0, top=0, right=9, bottom=9)),
        Prompt(points=(Point(x=1, y=1),), mask_id="7"),
    ],
)
def test_only_a_click_is_answered(
    prompt: Prompt, ours: SegmenterPeer, noise: NDArray[np.uint8]
) -> None:
    ours.encode(noise)
    with pytest.raises(ValueError, match="not one positive click"):
        ours.click(prompt)
