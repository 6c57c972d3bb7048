"""`apsam-serve` with a device that is slow, stuck or broken on demand, and with probes.

Run as a program; the environment names the file that `behaviour` describes. The server itself is
the product's own; `/metrics` has these in addition:

probe_device{what}: images and prompts that reached the device, most prompts in one batch
probe_running{what}: calls that have not ended, tasks of the event loop
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from apsam_serve import cli
from apsam_serve.config import ServeConfig
from apsam_serve.contract.manifest import Build, Bundle, ModelSpec
from apsam_serve.errors import DeviceFaultError, OutOfMemoryError
from apsam_serve.runtime import fake
from apsam_serve.runtime.base import DecodedBatch, EncodedBatch, Floats, Held, RunnerOptions
from apsam_serve.service import server as service
from tests.serve.reliability.behaviour import ENVIRONMENT, Behaviour, Watched

SECRET = "/srv/models/secret.plan at 0x7f00deadbeef"
"""In the text of a fault that a library raised; no caller may ever read it."""
_seen = {"images": 0, "prompts": 0, "largest_batch": 0}


class FaultyRunner:
    """Implements `runtime.base.Runner`: the double, and what its file says."""

    def __init__(self, model: ModelSpec, watched: Watched) -> None:
        self._double = fake.FakeRunner(model)
        self._watched = watched

    @property
    def model(self) -> ModelSpec:
        return self._double.model

    @property
    def build(self) -> Build:
        return self._double.build

    @property
    def device(self) -> None:
        """None: it has no memory of its own."""

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to free."""

    def encode(
        self, images: NDArray[np.uint8], energy: NDArray[np.uint8] | None = None
    ) -> EncodedBatch:
        _seen["images"] += len(images)
        now = self._work(lambda told: told.encode_ms * len(images))
        batch = self._double.encode(images, energy)
        if now.only_left_of is None and _broken(now):
            batch.attention[:] = np.nan
        return batch

    def decode(
        self,
        *,
        embedding: Held,
        energy_query: Held,
        image_index: NDArray[np.int64],
        coords: Floats,
        labels: Floats,
        mask_input: Floats,
        has_mask_input: Floats,
    ) -> DecodedBatch:
        num_prompts = len(coords)
        _seen["prompts"] += num_prompts
        _seen["largest_batch"] = max(num_prompts, _seen["largest_batch"])
        now = self._work(lambda told: told.decode_ms * num_prompts)
        first, every = _distinct(image_index, coords, labels, mask_input)
        batch = self._double.decode(
            embedding=embedding,
            energy_query=energy_query,
            image_index=image_index[first],
            coords=coords[first],
            labels=labels[first],
            mask_input=mask_input[first],
            has_mask_input=has_mask_input[first],
        )
        hit = np.full(num_prompts, True)
        if now.only_left_of is not None:
            hit = coords[:, 0, 0] < now.only_left_of
        logits = batch.logits[every]
        if hit.any() and _broken(now):
            logits[hit] = np.nan
        categories = batch.category_logits
        return DecodedBatch(
            logits=logits,
            iou=batch.iou[every],
            category_logits=None if categories is None else categories[every],
        )

    def _work(self, duration_ms: Callable[[Behaviour], float]) -> Behaviour:
        while (now := self._watched.now()).closed:
            time.sleep(0.002)
        time.sleep(duration_ms(now) / 1000)
        return now


def _distinct(*prompts: NDArray[np.generic]) -> tuple[list[int], list[int]]:
    """Where each different prompt stands first, and which of those every prompt is. Equal ones are
    computed once, because a device that works holds no lock of Python's meanwhile."""
    first: dict[bytes, int] = {}
    keys = [b"".join(row.tobytes() for row in rows) for rows in zip(*prompts, strict=True)]
    for number, key in enumerate(keys):
        first.setdefault(key, number)
    place = {key: index for index, key in enumerate(first)}
    return list(first.values()), [place[key] for key in keys]


def _broken(now: Behaviour) -> bool:
    """Whether the work is to answer with NaN. Raises what the other faults raise."""
    if now.fault == "oom":
        raise OutOfMemoryError("the device has no memory left; retry", retry_after_s=0.25)
    if now.fault == "device":
        raise DeviceFaultError(f"kernel of {SECRET} failed")
    return now.fault == "nan"


class Probes(Collector):
    """What the product does not publish of itself."""

    def __init__(self, server: service.Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        device = GaugeMetricFamily("probe_device", "Reached the device.", labels=["what"])
        for what, count in _seen.items():
            device.add_metric([what], count)
        yield device
        running = GaugeMetricFamily("probe_running", "Has not ended.", labels=["what"])
        running.add_metric(["calls"], self._server.calls.num_running)
        running.add_metric(["tasks"], len(asyncio.all_tasks(self._loop)))
        yield running


class Hurried:
    """The server's options with other keepalive times."""

    def __init__(self, watched: Watched) -> None:
        self._keepalive_ms = watched.now().keepalive_ms
        self._product = service.Server._options

    def __call__(self, server: service.Server) -> list[tuple[str, int]]:
        options = dict(self._product(server))
        if self._keepalive_ms:
            # The last one is of the ping that measures an upload: a keepalive would wait for it.
            for name in ("keepalive_time_ms", "keepalive_timeout_ms", "http2.ping_timeout_ms"):
                options[f"grpc.{name}"] = self._keepalive_ms
        return list(options.items())


def main() -> int:
    watched = Watched(Path(os.environ[ENVIRONMENT]))
    product, hurried = service.Server, Hurried(watched)

    def create(bundle: Bundle, given: RunnerOptions) -> FaultyRunner:
        return FaultyRunner(bundle.manifest.model, watched)

    def probed(config: ServeConfig, **options: Any) -> service.Server:
        built = product(config, **options)
        built.metrics.registry.register(Probes(built))
        return built

    vars(fake)["create"] = create
    vars(service)["Server"] = probed
    product._options = lambda server: hurried(server)  # type: ignore[method-assign]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
