"""Screen every new picture of a folder. NAME is the picture's whole name, like bag.png:

  NAME.mask.png    label map, uint8: 0 background, n the n-th proposal
  NAME.json        COCO document of the proposals, written last
  NAME.error.json  instead of both: reason and message, for a picture that cannot be screened

A picture is taken when size and time of its file were the same at two polls. What has a result that
is newer than itself is left alone. A server that is away or full is waited for, with --once it ends
the command. SIGINT and SIGTERM end it after the picture in hand, a second one at once. The exit
code is 1 when any picture failed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from apsam_serve.client import Client, ProposeOptions, file_bytes
from apsam_serve.client_cli.folder import PATTERNS, Folder, Picture
from apsam_serve.client_cli.options import add_propose, propose_options
from apsam_serve.client_cli.result import Result
from apsam_serve.client_cli.screening import Screening, write_error
from apsam_serve.contract import images
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.errors import (
    ApsamError,
    InvalidInputError,
    ModelFaultError,
    NotServingError,
    OverloadedError,
    PermissionDeniedError,
    UnauthenticatedError,
)

Wait = Callable[[float], bool]
"""Waits so many seconds; True as soon as the loop shall end."""
_AWAY = (NotServingError, OverloadedError)
_PICTURES_FAULT = (InvalidInputError, ModelFaultError)
_OPERATORS_FAULT = (UnauthenticatedError, PermissionDeniedError)
_MAX_FAULTS = 3
"""Tries of a picture at which the server itself fails, before it gets an error."""
_FIRST_PAUSE_S, _MAX_PAUSE_S = 1.0, 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    parser.add_argument("folder", type=Path, help="where pictures appear")
    parser.add_argument("--out", type=Path, help="where results go (the same folder)")
    parser.add_argument("--once", action="store_true", help="screen what is there, then exit")
    parser.add_argument(
        "--pattern",
        action="append",
        help=f"of names, in any case; again for more ({' '.join(PATTERNS)})",
    )
    parser.add_argument("--poll-s", type=float, default=0.5, help="between looks (%(default)s)")
    add_propose(parser)


def run(client: Client, options: argparse.Namespace) -> Result:
    """Raises ApsamError for a folder, servers or permissions that do not work."""
    if not options.poll_s > 0:
        raise InvalidInputError(f"--poll-s is {options.poll_s}; give seconds above 0")
    folder = Folder(
        options.folder,
        out=options.out or options.folder,
        patterns=options.pattern or PATTERNS,
    )
    with _stopping() as stop:
        watcher = Watcher(
            client,
            folder,
            options=propose_options(options),
            strategy=options.strategy,
            patient=not options.once,
            wait=stop.wait,
        )
        watcher.watch(poll_s=options.poll_s, once=options.once)
    return Result(
        document={"screened": watcher.num_screened, "failed": watcher.num_failed},
        text=f"{watcher.num_screened} pictures screened, {watcher.num_failed} failed",
        code=1 if watcher.num_failed else 0,
    )


class Watcher:
    """The loop. patient: wait for servers that are away, else their error is raised."""

    def __init__(
        self,
        client: Client,
        folder: Folder,
        *,
        options: ProposeOptions,
        strategy: StrategyName,
        patient: bool,
        wait: Wait,
    ) -> None:
        self.num_screened = 0
        self.num_failed = 0
        self._client = client
        self._folder = folder
        self._options = options
        self._strategy = strategy
        self._patient = patient
        self._wait = wait
        self._categories: dict[str, tuple[str, ...]] = {}

    def watch(self, *, poll_s: float, once: bool) -> None:
        """Screen pictures as they come until `wait` says to end; once: those that are there now."""
        ready = self._folder.poll()
        first = self._folder.waiting
        while not once or first & self._folder.waiting:
            for picture in ready:
                if once and picture.path not in first:
                    continue
                self._take(picture)
                if self._wait(0):
                    return
            if once and not first & self._folder.waiting:
                return
            if self._wait(poll_s):
                return
            ready = self._folder.poll()

    def _take(self, picture: Picture) -> None:
        """Screen a picture, and write what comes of it. Raises what no other picture would survive
        either."""
        started = time.perf_counter()
        outcome = self._outcome(picture)
        if outcome is None:
            return
        if isinstance(outcome, ApsamError):
            self.num_failed += 1
            write_error(picture, outcome)
            _say(f"{picture.path.name}: {outcome.reason}: {outcome}")
        else:
            self.num_screened += 1
            outcome.write(picture)
            milliseconds = (time.perf_counter() - started) * 1000
            _say(f"{picture.path.name}: {len(outcome.proposals)} proposals, {milliseconds:.0f} ms")
        self._folder.done(picture)

    def _outcome(self, picture: Picture) -> Screening | ApsamError | None:
        """None for a picture that is gone, or when the loop shall end before a server answers."""
        pause_s, num_faults = _FIRST_PAUSE_S, 0
        while picture.path.exists():
            try:
                return self._screened(picture)
            except _PICTURES_FAULT as error:
                return error
            except _OPERATORS_FAULT:
                raise
            except _AWAY as error:
                if not self._patient:
                    raise
                trouble: ApsamError = error
            except ApsamError as error:
                num_faults += 1
                if num_faults == _MAX_FAULTS:
                    return error
                trouble = error
            _say(f"{picture.path.name} waits {pause_s:.0f} s: {trouble}")
            if self._wait(pause_s):
                return None
            pause_s = min(_MAX_PAUSE_S, 2 * pause_s)
        return None

    def _screened(self, picture: Picture) -> Screening:
        data = file_bytes(picture.path)
        height, width, _ = images.decode(data).shape
        with self._client.encode(data) as held:
            found = held.propose(self._options, strategy=self._strategy)
            digest, server = held.model_digest, held.server_address
        return Screening(
            proposals=found,
            height=height,
            width=width,
            model_digest=digest,
            categories=self._categories_of(digest, server),
        )

    def _categories_of(self, model_digest: str, server: str) -> tuple[str, ...]:
        """A model's names, asked for once."""
        if model_digest not in self._categories:
            for model in self._client.server_info(server).models:
                self._categories[model.digest] = model.categories
        return self._categories.get(model_digest, ())


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one interrupts."""
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, earlier, strict=True):
            signal.signal(number, handler)


def _say(line: str) -> None:
    print(f"apsam-client: {line}", file=sys.stderr, flush=True)
