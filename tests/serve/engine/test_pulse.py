"""When a device counts as broken."""

from __future__ import annotations

from apsam_serve.engine.pulse import Pulse
from apsam_serve.errors import DeviceFaultError, InvalidInputError


def test_faults_are_counted_by_reason_and_make_the_engine_try_for_itself() -> None:
    pulse = Pulse()
    pulse.note([DeviceFaultError("lost"), DeviceFaultError("lost"), MemoryError()])
    assert pulse.faults == {"DEVICE_FAULT": 2, "INTERNAL": 1}
    assert (pulse.suspected, pulse.healthy) == (True, True)


def test_callers_mistakes_say_nothing_about_the_device() -> None:
    pulse = Pulse()
    pulse.note([InvalidInputError("too many points")])
    assert (pulse.suspected, pulse.faults) == (False, {})


def test_listeners_hear_of_every_change_and_of_nothing_else() -> None:
    pulse, told = Pulse(), list[bool]()
    pulse.listen(told.append)
    for works in (True, False, False, True, True):
        pulse.tried(works)
        assert pulse.suspected is not works
    assert told == [False, True]
