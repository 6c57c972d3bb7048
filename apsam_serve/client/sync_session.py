"""A session of the blocking client."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import grpc

from apsam_serve.client import requests
from apsam_serve.client.calls import Calls, Effect, Open, Pause, Step
from apsam_serve.client.faults import (
    FAREWELL_S,
    LATE_S,
    fault_of,
    step_expired,
    stream_ended,
    stream_error,
)
from apsam_serve.client.images import Image, image_message
from apsam_serve.client.requests import FASTEST
from apsam_serve.client.running import run
from apsam_serve.client.session_flows import SessionFlows
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.engine.proposals import ProposeOptions
from apsam_serve.engine.replies import Embedding
from apsam_serve.service.convert import Proposal
from apsam_serve.v1 import segmentation_pb2 as pb


class Session:
    """One station's stream. Each step has the client's timeout; a step that fails raises the
    package's own error and the session goes on. A stream that breaks is opened again, at another
    server if there is one, and the current image is sent again. For one thread."""

    def __init__(
        self, calls: Calls, open_stream: Callable[[str], Stream], *, max_message_bytes: int
    ) -> None:
        self._flows = SessionFlows(calls)
        self._open_stream = open_stream
        self._max_message_bytes = max_message_bytes
        self._stream: Stream | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def image(self, image: Image) -> Embedding:
        """Encode an image; it becomes the current one."""
        message = image_message(image, max_message_bytes=self._max_message_bytes)
        return run(self._flows.image(message), self._do)

    def segment(
        self,
        prompts: Sequence[Prompt],
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Segmentation]:
        """Answer prompts about the current image, as `RemoteImage.segment` does."""
        request = requests.segment_request(prompts, strategy, apg, mask_encoding)
        return run(self._flows.segment(request), self._do)

    def propose(
        self,
        options: ProposeOptions | None = None,
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Proposal]:
        """Find objects in the current image, the strongest peak first."""
        request = requests.propose_request(options, strategy, apg, mask_encoding)
        return run(self._flows.propose(request), self._do)

    def close(self) -> None:
        """End the stream; the server forgets the current image."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _do(self, effect: Effect) -> Any:
        if isinstance(effect, Pause):
            return time.sleep(effect.seconds)
        if isinstance(effect, Open):
            self.close()
            self._stream = self._open_stream(effect.address)
            return None
        assert isinstance(effect, Step)
        assert self._stream is not None
        return self._stream.step(effect)


class Stream:
    """A stream to one server. method: the stub's Session."""

    def __init__(self, method: Any, address: str) -> None:
        self._address = address
        self._requests: queue.SimpleQueue[pb.SessionRequest | None] = queue.SimpleQueue()
        self._call = method(iter(self._requests.get, None))
        self._expired = False

    def step(self, step: Step) -> pb.SessionResponse:
        """Raises the package's own error for a fault, DeadlineExceededError, or NotServingError for
        a stream that has ended."""
        self._requests.put(step.request)
        timer = threading.Timer(step.timeout_s + LATE_S, self._expire)
        timer.start()
        try:
            response: pb.SessionResponse = next(self._call)
        except StopIteration:
            raise stream_ended(self._address) from None
        except grpc.RpcError as error:
            if self._expired:
                raise step_expired(self._address, step.timeout_s) from error
            raise stream_error(error, self._address) from error
        finally:
            timer.cancel()
        if response.HasField("fault"):
            raise fault_of(response.fault, self._address)
        return response

    def close(self) -> None:
        """Say that no step follows, and wait a moment for the server to take note."""
        self._requests.put(None)
        timer = threading.Timer(FAREWELL_S, self._expire)
        timer.start()
        try:
            for _ in self._call:
                pass
        except grpc.RpcError:
            pass  # it has ended in any case
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._expired = True
        self._call.cancel()
