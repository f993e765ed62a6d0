"""How answers of probes add up."""

from __future__ import annotations

from dockerlab.engine.services.health import HEALTHY, STARTING, UNHEALTHY, Answer, Health


def answer(code: int) -> Answer:
    return Answer(start_ns=0, end_ns=1, exit_code=code, output="")


def after(*codes: int, retries: int = 3, in_start_period: bool = False) -> Health:
    health = Health()
    for code in codes:
        health = health.after(answer(code), retries, in_start_period=in_start_period)
    return health


def test_the_first_good_answer_makes_healthy():
    assert after(0).status == HEALTHY


def test_only_failures_in_a_row_make_unhealthy():
    assert after(1, 1).status == STARTING
    assert after(1, 1, 0, 1, 1).status == HEALTHY
    assert after(1, 1, 1).status == UNHEALTHY
    assert after(1, 1, 1).failing_streak == 3


def test_failures_in_the_start_period_do_not_count():
    health = after(1, 1, 1, 1, in_start_period=True)
    assert (health.status, health.failing_streak) == (STARTING, 0)


def test_five_answers_are_kept():
    kept = after(1, 2, 3, 4, 5, 6).document()["Log"]
    assert [one["ExitCode"] for one in kept] == [2, 3, 4, 5, 6]
