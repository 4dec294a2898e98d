"""Which walls this machine can build, and for whom."""

import pytest

from grader.sandbox import policy


def test_the_tier_says_what_there_is(monkeypatch):
    built = policy.best()
    assert ("Landlock" in built.tier) == built.landlock and ("seccomp" in built.tier) == built.seccomp
    assert ("user" in built.tier) == (built.uid is not None) or "practice only" in built.tier


@pytest.mark.parametrize("reads_answers", [False, True])
def test_a_user_who_can_read_the_answers_is_no_wall(monkeypatch, reads_answers):
    monkeypatch.setattr(policy.sys, "platform", "linux")
    monkeypatch.setattr(policy.landlock, "version", lambda: 0)
    monkeypatch.setattr(policy.os, "geteuid", lambda: 0)
    monkeypatch.setattr(policy, "_succeeds", lambda uid, code, *paths: not (reads_answers and code is policy.LOOK))
    built = policy.best()
    assert ("practice only" in built.tier, built.uid is None) == (reads_answers, reads_answers)


def test_everybody_has_a_user_and_the_suites_workers_have_others():
    built = policy.Walls("separate user", False, policy.FIRST_UID + policy.UIDS - 2)
    everybody = [built.of_its_own(number) for number in range(5)]
    users = [w.uid for one in everybody for w in (one, one.for_the_suite())]
    assert len(set(users)) == 10 and min(users) >= policy.FIRST_UID
    assert policy.PRACTICE.of_its_own(3) == policy.PRACTICE.for_the_suite() == policy.PRACTICE


@pytest.mark.parametrize("system", ["darwin", "linux"])
def test_without_any_wall_it_is_practice_and_says_so(monkeypatch, system):
    monkeypatch.setattr(policy.sys, "platform", system)
    monkeypatch.setattr(policy.landlock, "version", lambda: 0)
    monkeypatch.setattr(policy.seccomp, "works", lambda: False)
    monkeypatch.setattr(policy, "_succeeds", lambda *_: False)
    built = policy.best()
    assert "practice only" in built.tier and not built.apart
