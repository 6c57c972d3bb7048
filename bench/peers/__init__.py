"""What people use today to click on images, and ours, all with the same weights.

`with open_peers(names, checkpoint=..., ...) as peers:` is a dict of the peers that can run here, in
the order asked for; `peers.left_out` says why the others cannot.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from threadpoolctl import threadpool_limits

from apsam_serve.contract.cpus import num_cpus
from bench.peers.base import Answer, Peer, PeerUnavailableError, Source

PEERS = {
    "grpc": "apsam",
    "in_process": "apsam",
    "predictor": "predictor",
    "compiled": "compiled",
    "onnx_decoder": "onnx_decoder",
    "gpu_fp16": "gpu",
    "gpu_bf16": "gpu",
    "gpu_max_autotune": "gpu",
    "gpu_sdpa_bias": "gpu",
}
"""Names of peers and the module of each, which has `open_peer(name, source)`. Ours are the first
two; those from gpu_fp16 on need CUDA."""
ON_CPU = ("predictor", "compiled", "onnx_decoder")
ON_GPU = ("gpu_fp16", "gpu_bf16", "gpu_max_autotune", "gpu_sdpa_bias")

__all__ = ["ON_CPU", "ON_GPU", "PEERS", "Answer", "Peer", "Peers", "open_peers"]


class Peers(dict[str, Peer]):
    """Open peers by name. left_out: name to the reason, of those that cannot run here."""

    def __init__(self) -> None:
        super().__init__()
        self.left_out: dict[str, str] = {}
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> Peers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def limit(self, threads: int) -> None:
        """Keep libraries that are loaded by now, OpenMP and BLAS, to so many threads until
        `close`."""
        self._limits = threadpool_limits(threads)

    def close(self) -> None:
        """Close all of them."""
        if self._limits is not None:
            self._limits.restore_original_limits()
        for peer in self.values():
            peer.close()


def open_peers(
    names: Iterable[str],
    *,
    checkpoint: Path,
    bundle: Path | None = None,
    address: str | None = None,
    threads: int = 0,
) -> Peers:
    """Open peers of `PEERS`; close them, or use them in a `with`.

    checkpoint: of all; bundle: exported from it, for in_process; address: HOST:PORT of a server of
    that bundle, for grpc; threads: CPU threads of each but the server's, 0 for one per core.
    Raises ValueError for an unknown name; a peer that cannot run here is left out with the reason.
    """
    source = Source(
        checkpoint=checkpoint, bundle=bundle, address=address, threads=threads or num_cpus()
    )
    peers = Peers()
    try:
        for name in dict.fromkeys(names):
            opener = _opener(name)
            try:
                peers[name] = opener(name, source)
            except PeerUnavailableError as error:
                peers.left_out[name] = str(error)
        peers.limit(source.threads)
    except BaseException:
        peers.close()
        raise
    return peers


def _opener(name: str) -> Callable[[str, Source], Peer]:
    if name not in PEERS:
        raise ValueError(f"peer {name!r} is unknown; choose of {', '.join(PEERS)}")
    module = importlib.import_module(f"bench.peers.{PEERS[name]}")
    opener: Callable[[str, Source], Peer] = module.open_peer
    return opener
