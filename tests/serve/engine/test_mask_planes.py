"""Which masks of an image are kept, over random histories."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsam_serve.engine.mask_planes import MaskPlanes
from apsam_serve.errors import MaskGoneError


def _publish(planes: MaskPlanes) -> str:
    plane = planes.take()
    assert plane is not None
    return planes.publish(plane)


def test_the_oldest_mask_goes_first_and_its_message_names_those_that_are_kept() -> None:
    planes = MaskPlanes(2, name="bag")
    ids = [_publish(planes) for _ in range(3)]
    with planes.reading(ids[1]) as one, planes.reading(ids[2]) as other:
        assert {one, other} == {0, 1}
    message = r"mask 'bag-0' is no longer held for this image \(kept: bag-1, bag-2\)"
    with pytest.raises(MaskGoneError, match=message), planes.reading(ids[0]):
        pass


def test_a_mask_that_is_read_is_not_overwritten() -> None:
    planes = MaskPlanes(2)
    old, new = _publish(planes), _publish(planes)
    with planes.reading(old) as read:
        taken = planes.take()
        assert taken is not None
        assert taken != read
        assert planes.take() is None
        planes.publish(taken)
    with pytest.raises(MaskGoneError), planes.reading(new):
        pass


def test_a_mask_of_another_image_is_not_taken_for_one_of_this() -> None:
    one, other = MaskPlanes(2), MaskPlanes(2)
    mask_id = _publish(one)
    _publish(other)
    with pytest.raises(MaskGoneError), other.reading(mask_id):
        pass


def test_a_plane_that_was_not_written_is_used_again() -> None:
    planes = MaskPlanes(1)
    plane = planes.take()
    assert plane is not None
    planes.give_back(plane)
    assert planes.take() == plane


def test_an_image_without_planes_keeps_nothing() -> None:
    assert MaskPlanes(0).take() is None


@given(st.lists(st.sampled_from(["take", "publish", "give_back", "read", "done"]), max_size=60))
def test_nobody_writes_where_another_reads_or_writes(history: list[str]) -> None:
    planes = MaskPlanes(3)
    writing: list[int] = []
    reading: list[tuple[ExitStack, int]] = []
    published: list[str] = []
    for step in history:
        if step == "take":
            plane = planes.take()
            busy = {*writing, *(plane for _, plane in reading)}
            assert plane not in busy
            assert plane is not None or len(busy) == 3
            writing += [] if plane is None else [plane]
        elif step == "publish" and writing:
            published.append(planes.publish(writing.pop()))
        elif step == "give_back" and writing:
            planes.give_back(writing.pop())
        elif step == "read" and published:
            stack = ExitStack()
            try:
                plane = stack.enter_context(planes.reading(published[-1]))
            except MaskGoneError:
                continue
            assert plane not in writing
            reading.append((stack, plane))
        elif step == "done" and reading:
            reading.pop()[0].close()
    assert len(set(published)) == len(published)
