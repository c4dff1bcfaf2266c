import threading

import pytest

from vault.errors import Conflict
from vault.locks import ResourceLocks


def test_a_listener_that_fails_does_not_leave_the_resource_locked_for_ever() -> None:
    locks = ResourceLocks(wait_s=0.05)

    def broken(_key: str) -> None:
        raise RuntimeError("a defect")

    locks.on_release(broken)
    with pytest.raises(RuntimeError), locks.hold("guest:1") as held:
        held.acting = True
    assert not locks.is_busy("guest:1")
    with locks.hold("guest:1"):
        assert locks.is_busy("guest:1")


def test_an_access_that_was_refused_never_counts_as_acting_and_is_not_told() -> None:
    locks = ResourceLocks()
    told: list[str] = []
    locks.on_release(told.append)
    with locks.hold("guest:1"):
        assert locks.is_busy("guest:1")
        assert not locks.is_acting("guest:1")
    assert told == []


def test_an_access_that_acts_is_told_before_its_lock_is_released() -> None:
    locks = ResourceLocks()
    told: list[tuple[str, bool]] = []
    locks.on_release(lambda key: told.append((key, locks.is_busy(key))))
    with locks.hold("guest:1") as held:
        held.acting = True
        assert locks.is_acting("guest:1")
    assert told == [("guest:1", True)]
    assert not locks.is_acting("guest:1")


def test_an_act_that_asks_again_for_its_own_resource_gets_a_conflict_and_no_deadlock() -> None:
    locks = ResourceLocks(wait_s=0.05)
    with locks.hold("guest:1"):
        with pytest.raises(Conflict), locks.hold("guest:1"):
            pass
        assert locks.is_busy("guest:1")
    assert not locks.is_busy("guest:1")


def test_many_threads_hold_one_lock_one_after_another() -> None:
    locks = ResourceLocks(wait_s=30)
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(50):
            with locks.hold("guest:1"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 400
    assert not locks.is_busy("guest:1")
