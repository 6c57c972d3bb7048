"""Which bundle is served: the one that the path leads to, verified, with a back end for it."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from apsam_serve import signing
from apsam_serve.config import ServeConfig
from apsam_serve.contract.manifest import MANIFEST_NAME, Bundle, open_bundle
from apsam_serve.errors import BundleError
from apsam_serve.runtime.base import Runner, RunnerOptions, load

_log = logging.getLogger("apsam_serve.service")


class Bundles:
    """Everything here blocks, on whichever thread."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config

    def digest(self) -> str:
        """Of the bundle that the path leads to now; nothing else of it is read.

        Raises BundleError.
        """
        file = self._path() / MANIFEST_NAME
        try:
            return hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise BundleError(
                f"{file} cannot be read ({error.strerror}); let --bundle lead to a folder written "
                "by apsam-export"
            ) from error

    def open(self) -> Bundle:
        """Read and verify every file. Raises BundleError or SignatureError."""
        path = self._path()  # once: a link that is moved must not lead elsewhere
        if self._config.require_signature is not None:
            signing.verify(path, self._config.require_signature)
        return open_bundle(path)

    def runner(self, bundle: Bundle) -> Runner:
        """The back end for a bundle, not open yet.

        Raises BackendUnavailableError, BundleError or UnverifiedBuildError.
        """
        config = self._config
        options = RunnerOptions(
            threads=config.threads,
            device=config.device,
            build=config.build,
            allow_unverified=config.allow_unverified,
            on_device=True,
            cache=config.cache,
        )
        runner = load(config.backend)(bundle, options)
        if not runner.build.gate.passed:
            _log.warning("serving an unverified build: %s", runner.build.gate.detail)
        return runner

    def _path(self) -> Path:
        return self._config.bundle.resolve()
