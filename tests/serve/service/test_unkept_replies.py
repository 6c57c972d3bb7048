"""Replies too large to be remembered: what they hold must not stay when nobody has them."""

from __future__ import annotations

import pytest

from tests.serve.service.desk import ANSWER, Desk, moments, run


@pytest.mark.parametrize(("max_bytes", "undone"), [(0, [ANSWER]), (1000, [])])
def test_work_whose_caller_has_gone_is_undone_where_its_reply_is_not_remembered(
    max_bytes: int, undone: list[object]
) -> None:
    async def test() -> None:
        desk = Desk(max_bytes=max_bytes)
        caller = desk.ask()
        desk.kitchen.start.set()
        await moments()
        caller.cancel()
        await moments()
        desk.serve()
        await desk.calls.close()
        assert desk.kitchen.num_done == 1
        assert desk.kitchen.undone == undone

    run(test)


def test_who_still_waits_gets_a_reply_that_is_not_remembered() -> None:
    async def test() -> None:
        desk = Desk(max_bytes=0)
        gone, stays = desk.ask(), desk.ask()
        desk.kitchen.start.set()
        await moments()
        gone.cancel()
        await moments()
        desk.serve()
        assert await stays == ANSWER
        assert desk.kitchen.undone == []

    run(test)
