"""A GPU's memory and stream, on a double of the CUDA runtime."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest

from apsam_serve.errors import DeviceFaultError, OutOfMemoryError
from apsam_serve.ops.cuda import CudaDevice
from apsam_serve.ops.device import DeviceKernels
from apsam_serve.ops.kernels import Kernel
from apsam_serve.ops.memory import DeviceArray
from apsam_serve.ops.recordings import MAX_RECORDINGS, without_recordings
from tests.serve.ops.cuda_double import Code, CudaDouble, KernelsDouble

ONES = Kernel(name="ones", threads=1, parameters={})


@pytest.fixture
def cuda() -> CudaDouble:
    return CudaDouble()


@pytest.fixture
def kernels(cuda: CudaDouble) -> KernelsDouble:
    return KernelsDouble(cuda)


@pytest.fixture
def device(cuda: CudaDouble, kernels: KernelsDouble) -> Iterator[CudaDevice]:
    made = CudaDevice(cuda, cast(DeviceKernels, kernels))
    assert kernels.is_open
    yield made
    made.close()
    made.close()
    assert not kernels.is_open
    assert cuda.leaks == []


def _fetched(device: CudaDevice, array: DeviceArray) -> list[Any]:
    found = device.pinned(array.shape, array.dtype)
    device.fetch(found, array)
    device.wait()
    return cast("list[Any]", found.tolist())


def test_arrays_go_to_the_device_within_it_and_back(device: CudaDevice) -> None:
    sent = device.pinned((2, 3), "float32")
    sent[:] = [[1, 2, 3], [4, 5, 6]]
    first, second = device.allocate((2, 3), "float32"), device.allocate((3,), "float32")
    device.send(first, sent)
    device.copy(second, first.rows(1, 2))
    assert (first.stream, device.stream) == (7, 7)
    assert _fetched(device, second) == [4, 5, 6]


def test_nothing_is_done_before_it_is_waited_for(device: CudaDevice) -> None:
    array, host = device.allocate((2,), "int32"), device.pinned((2,), "int32")
    host[:] = 5
    device.send(array, host)
    host[:] = 6  # which nobody may do
    assert _fetched(device, array) == [6, 6]


def test_too_little_memory_says_how_much_there_is(device: CudaDevice, cuda: CudaDouble) -> None:
    held = device.allocate((1 << 19,), "uint8")
    message = (
        r"the GPU has no memory to allocate 1048576 bytes for float32 \[4, 65536\] "
        r"\(524288 of 1048576 bytes are free\); retry, lower --budget-bytes"
    )
    with pytest.raises(OutOfMemoryError, match=message) as caught:
        device.allocate((4, 1 << 16), "float32")
    assert caught.value.retry_after_s == 1
    with pytest.raises(OutOfMemoryError, match="to page-lock 2097152 bytes"):
        device.pinned((1 << 21,), "uint8")
    device.free(held)
    device.allocate((4, 1 << 16), "float32")


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("cudaErrorMemoryAllocation", OutOfMemoryError, "no memory to finish what was queued"),
        (
            "cudaErrorLaunchFailure",
            DeviceFaultError,
            "CUDA answered cudaErrorLaunchFailure when asked to finish what was queued; look at",
        ),
    ],
)
def test_what_fails_on_the_device_is_told_by_the_wait(
    device: CudaDevice, cuda: CudaDouble, fault: str, error: type[Exception], message: str
) -> None:
    """And memory can be given back all the same."""
    array = device.allocate((4,), "uint8")
    cuda.fault = Code[fault]
    with pytest.raises(error, match=message):
        device.wait()
    device.free(array)


def test_room_is_kept_and_grows(device: CudaDevice, cuda: CudaDouble) -> None:
    first = device.room("a", (4, 2), "float32")
    assert device.room("a", (3,), "uint8").address == first.address
    assert device.room("a", (3,), "uint8").shape == (3,)
    assert device.room("b", (4, 2), "float32").address != first.address
    device.room("a", (4, 3), "float32")
    assert cuda.leaks.count("memory") == 2


def test_kernels_are_launched_on_the_stream(device: CudaDevice, kernels: KernelsDouble) -> None:
    array = device.allocate((4,), "uint8")
    device.launch(ONES, (3, 2), {"out": array.address})
    assert kernels.launched == [("ones", (3, 2), 7)]
    assert _fetched(device, array) == [1, 1, 1, 1]


def test_kernels_that_do_not_open_leave_nothing(cuda: CudaDouble) -> None:
    with pytest.raises(BufferError):
        CudaDevice(cuda, cast(DeviceKernels, KernelsDouble(cuda, opens=False)))
    assert cuda.leaks == []


def test_every_thread_gets_the_context(device: CudaDevice, cuda: CudaDouble) -> None:
    """Once, for as long as no other thread comes between."""
    before = cuda.num_set_device
    with ThreadPoolExecutor(1) as other:
        for _ in range(2):
            other.submit(device.wait).result()
    assert cuda.num_set_device == before + 1
    device.wait()
    assert cuda.num_set_device == before + 2


def test_work_is_recorded_when_it_comes_again(device: CudaDevice, cuda: CudaDouble) -> None:
    """And then read from where it lies, whatever the caller's work is by then."""
    host, array = device.pinned((1,), "int32"), device.allocate((1,), "int32")
    calls: list[str] = []

    def work() -> None:
        calls.append("work")
        device.send(array, host)

    for value in range(1, 6):
        host[:] = value
        device.replay(("key", 1), work)
        assert _fetched(device, array) == [value]
    assert calls == ["work", "work"]
    assert cuda.num_launched == 4
    device.replay(("key", 2), work)
    assert len(calls) == 3


def test_the_oldest_recording_goes_when_there_are_too_many(
    device: CudaDevice, cuda: CudaDouble
) -> None:
    calls: list[int] = []
    for key in range(MAX_RECORDINGS + 1):
        for _ in range(3):
            device.replay(0, lambda: calls.append(0))
            device.replay(key + 1, lambda key=key: calls.append(key + 1))
    assert len(cuda.alive["executable"]) == MAX_RECORDINGS
    assert calls.count(0) == calls.count(2) == 2
    device.replay(1, lambda: calls.append(1))
    assert calls.count(1) == 3


def test_what_cannot_be_recorded_is_done_and_the_log_says_so(
    device: CudaDevice, cuda: CudaDouble, caplog: pytest.LogCaptureFixture
) -> None:
    host, array = device.pinned((1,), "int32"), device.allocate((1,), "int32")

    def work() -> None:
        device.allocate((1,), "uint8")
        device.send(array, host)

    with caplog.at_level(logging.WARNING, "apsam_serve.ops"):
        for value in range(4):
            host[:] = value
            device.replay("allocates", work)
            assert _fetched(device, array) == [value]
    assert cuda.num_launched == 0
    (record,) = caplog.records
    assert "allocates cannot be recorded" in record.message
    assert "cudaErrorStreamCaptureUnsupported" in record.message


def test_a_recording_that_another_thread_spoils_is_made_the_next_time(
    device: CudaDevice, cuda: CudaDouble, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that loads a model does, which waits for the whole device."""
    host, array = device.pinned((1,), "int32"), device.allocate((1,), "int32")
    num_calls = 0

    def work() -> None:
        nonlocal num_calls
        num_calls += 1
        if num_calls == 2:
            cuda.cudaMalloc(1)
        device.send(array, host)

    for value in range(6):
        host[:] = value
        device.replay("key", work)
        assert _fetched(device, array) == [value]
    assert num_calls == 4  # done, spoiled, done, and recorded
    assert cuda.num_launched == 4
    assert not caplog.records


def test_nothing_is_recorded_while_another_thread_loads_a_model(
    device: CudaDevice, cuda: CudaDouble
) -> None:
    """Which waits for what is being recorded, and is not waited for."""
    host, array = device.pinned((1,), "int32"), device.allocate((1,), "int32")
    order: list[str] = []

    def load() -> None:
        with without_recordings():
            order.append("load")

    def work() -> None:
        if cuda.is_recording:
            loader.submit(load)
            time.sleep(0.02)
            order.append("recorded")
        device.send(array, host)

    with ThreadPoolExecutor(1) as loader:
        with without_recordings():
            for value in range(3):
                host[:] = value
                device.replay("key", work)
                assert _fetched(device, array) == [value]
        assert cuda.num_launched == 0
        device.replay("key", work)
    assert cuda.num_launched == 1
    assert order == ["recorded", "load"]


def test_a_mistake_of_ours_while_recording_ends_it(device: CudaDevice, cuda: CudaDouble) -> None:
    device.replay("key", lambda: None)
    with pytest.raises(ZeroDivisionError):
        device.replay("key", lambda: [][1 // 0])
    device.wait()
    device.replay("key", lambda: None)
    assert cuda.num_launched == 1


def test_times_are_noted_on_the_stream_and_in_recordings(device: CudaDevice) -> None:
    def work() -> None:
        device.mark("middle")
        device.mark("end")

    for _ in range(4):
        device.mark("begin")
        device.replay("key", work)
        device.wait()
        assert device.elapsed_s("begin", "middle") == pytest.approx(0.001)
        assert device.elapsed_s("begin", "end") == pytest.approx(0.002)


def test_arrays_of_other_sizes_are_a_mistake_of_ours(device: CudaDevice) -> None:
    array = device.allocate((4,), "uint8")
    with pytest.raises(AssertionError):
        device.send(array, np.zeros(3, np.uint8))
    with pytest.raises(AssertionError):
        device.fetch(np.zeros(5, np.uint8), array)
    with pytest.raises(AssertionError):
        device.copy(array, array.rows(0, 2))


def test_anybody_may_ask_for_the_memory_while_another_thread_works(
    device: CudaDevice, cuda: CudaDouble
) -> None:
    before = device.memory_bytes()
    device.allocate((1000,), "uint8")
    with ThreadPoolExecutor(1) as pool:
        after = pool.submit(device.memory_bytes).result()
    assert after == {"used": before["used"] + 1000, "total": cuda.size}
