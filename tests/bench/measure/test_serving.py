from __future__ import annotations

from pathlib import Path

import pytest

from bench.measure.serving import ServedBundle


def test_a_bundle_is_served_and_watched(tiny_bundle: Path) -> None:
    with ServedBundle(tiny_bundle, "--threads", "1") as server:
        pid = Path(f"/proc/{server.pid}")
        assert server.address.startswith("127.0.0.1:")
        assert 0 < server.ready_s < 60
        assert 0 < server.rss_bytes() <= server.peak_bytes()
        assert server.cpu_s() > 0
        assert "serving" in server.said()
    assert not pid.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--backend", "abacus"), r"did not start \(exit code 2\); it said:\n.*abacus"),
        (("--no-such-option",), r"did not start \(exit code 2\); it said:\n.*--no-such-option"),
    ],
)
def test_a_server_that_does_not_start_says_why(
    tiny_bundle: Path, options: tuple[str, ...], says: str
) -> None:
    with pytest.raises(RuntimeError, match=f"(?s){says}"), ServedBundle(tiny_bundle, *options):
        pass


def test_a_server_that_takes_too_long_is_ended(tiny_bundle: Path) -> None:
    server = ServedBundle(tiny_bundle, start_timeout_s=0.01)
    with pytest.raises(RuntimeError, match=r"did not start within 0\.01 s"), server:
        pass
    assert not Path(f"/proc/{server.pid}").exists()
