from vault.keystore.throttle import LONGEST_WAIT_S, UnsealThrottle


class ManualTime:
    """A clock that stands still unless somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s: list[float] = []

    def sleep(self, duration_s: float) -> None:
        self.slept_s.append(duration_s)
        self.now_s += duration_s

    def monotonic(self) -> float:
        return self.now_s


def test_each_failure_makes_the_next_try_wait_longer_up_to_a_limit() -> None:
    time = ManualTime()
    throttle = UnsealThrottle(time.sleep, time.monotonic)
    for _ in range(8):
        throttle.wait()
        throttle.failed()
    assert time.slept_s == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_thousand_failures_lock_nobody_out() -> None:
    time = ManualTime()
    throttle = UnsealThrottle(time.sleep, time.monotonic)
    for _ in range(1000):
        throttle.failed()
    throttle.wait()
    assert time.slept_s == [LONGEST_WAIT_S]


def test_the_first_try_and_a_try_after_a_success_wait_for_nothing() -> None:
    time = ManualTime()
    throttle = UnsealThrottle(time.sleep, time.monotonic)
    throttle.wait()
    throttle.failed()
    throttle.succeeded()
    throttle.wait()
    assert time.slept_s == []
    assert throttle.failures == 0


def test_time_that_has_passed_anyway_counts() -> None:
    time = ManualTime()
    throttle = UnsealThrottle(time.sleep, time.monotonic)
    throttle.failed()
    time.now_s += 60
    throttle.wait()
    assert time.slept_s == []
