"""A bundle that answers in no time, so that benchmarks run in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.conftest import MODEL, write_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 64 x 64 input; a click answers with a disc around it."""
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(path, MODEL)
    return path
