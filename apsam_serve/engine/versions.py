"""The models that are loaded: one that new images go to, and older ones that finish their work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from apsam_serve.contract.manifest import Build, ModelSpec
from apsam_serve.engine.compute import Compute
from apsam_serve.engine.device_compute import DeviceCompute
from apsam_serve.engine.host_compute import HostCompute
from apsam_serve.engine.replies import LoadedModel
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.runtime.base import DeviceRunner, Runner

MAX_VERSIONS = 2
"""Loaded side by side, the current one included: a third makes the oldest forget its images."""


@dataclass(kw_only=True, eq=False)
class Version:
    """An open model. digest: of its bundle; num_users: calls that use it now."""

    digest: str
    model: ModelSpec
    build: Build
    runner: Runner
    compute: Compute
    num_users: int = 0

    @classmethod
    def open(cls, runner: Runner, digest: str, *, num_masks: int) -> Version:
        """Load the graphs; blocks, on whichever thread. Raises what `Runner.open` raises."""
        runner.open()
        try:
            device = runner.device
            compute: Compute = (
                HostCompute(runner, num_masks=num_masks)
                if device is None
                else DeviceCompute(cast(DeviceRunner, runner), device, num_masks=num_masks)
            )
        except BaseException:
            runner.close()
            raise
        return cls(
            digest=digest, model=runner.model, build=runner.build, runner=runner, compute=compute
        )

    def describe(self, *, current: bool, num_embeddings: int) -> LoadedModel:
        """What callers are told of it. current: new images go to it."""
        return LoadedModel(
            digest=self.digest,
            preset=self.model.preset,
            form=self.build.form,
            precision=self.build.precision,
            verified=self.build.gate.passed,
            categories=self.model.categories,
            current=current,
            num_embeddings=num_embeddings,
        )

    def close(self) -> None:
        """Free everything; nothing may be running on it."""
        self.compute.close()
        self.runner.close()


class Versions:
    """Loaded models by digest, the oldest first and the current one last. One thread calls it."""

    def __init__(self) -> None:
        self._versions: dict[str, Version] = {}

    def __iter__(self) -> Iterator[Version]:
        return iter(list(self._versions.values()))

    @property
    def current(self) -> Version:
        """The one that new images are encoded with."""
        return next(reversed(self._versions.values()))

    def find(self, digest: str) -> Version | None:
        """A loaded model, or None."""
        return self._versions.get(digest)

    def make_current(self, version: Version) -> None:
        """New images go to it from now on."""
        self._versions.pop(version.digest, None)
        self._versions[version.digest] = version

    def surplus(self) -> list[Version]:
        """Models beyond `MAX_VERSIONS`, which have to go."""
        return list(self._versions.values())[:-MAX_VERSIONS]

    def remove(self, version: Version) -> None:
        """Forget a model that nobody uses; its owner closes it."""
        assert version.num_users == 0, version.digest
        assert version is not self.current, version.digest
        del self._versions[version.digest]

    @contextmanager
    def use(self, digest: str = "") -> Iterator[Version]:
        """A model, "" for the current one, which stays loaded inside the block."""
        version = self._versions[digest] if digest else self.current
        version.num_users += 1
        try:
            yield version
        finally:
            version.num_users -= 1


def require_room(version: Version, budget_bytes: int) -> None:
    """Raise BackendUnavailableError where the budget does not hold one image of the model."""
    needed = version.compute.held_bytes
    if budget_bytes < needed:
        raise BackendUnavailableError(
            f"a budget of {budget_bytes} bytes holds no image; each takes {needed} bytes with its "
            "masks: give more with --budget-bytes"
        )
