"""What is counted of what callers use, and what it bounds."""

from __future__ import annotations

import pytest

from coderunner.core.quotas import CPU, MAX_SUMS, OUTPUT, RUNS, Sums
from coderunner.errors import BadLimit, NotAllowed, QuotaExceeded
from coderunner.schema import messages as m
from coderunner.schema.quotas import Quota, QuotasFile, most
from coderunner.sessions.quotas import Quotas

DAY = 86400


class Clock:
    now = 10.0 * DAY + 30

    def __call__(self) -> float:
        return self.now


def quotas(clock: Clock, **roles: Quota) -> Quotas:
    return Quotas(QuotasFile(**roles), 7, 8, clock)


def test_programs_of_a_minute_and_when_they_come_back():
    clock = Clock()
    one = quotas(clock, user=Quota(runs_per_minute=2)).account("key:1", "192.0.2.1")
    one.begin()
    one.begin()
    with pytest.raises(
        QuotaExceeded, match="2 programs in a minute; it comes back at 00:01:00 UTC"
    ) as caught:
        one.begin()
    assert caught.value.retry_after_ms == 30_000
    assert [(left.kind, left.of, left.remaining, left.reset) for left in one.left()] == [("runs", 2, 0, 30)]
    clock.now += 30
    one.begin()


def test_time_and_output_of_a_day():
    clock = Clock()
    one = quotas(clock, user=Quota(cpu_seconds_per_day=10, output_bytes_per_day=100)).account(
        "key:1", "192.0.2.1"
    )
    one.charge(9_999, 99)
    assert one.used_up is None
    one.begin()
    one.charge(1, 0)
    assert one.used_up == "cpu_timeout"
    with pytest.raises(QuotaExceeded, match="10 seconds of processor time in a day"):
        one.begin()
    with pytest.raises(QuotaExceeded):
        one.check_open(m.Open("python", "c" * 22))
    clock.now += DAY - 30
    one.charge(0, 100)
    assert one.used_up == "output_limit"


def test_a_class_behind_one_address_shares_nothing_with_credentials():
    clock = Clock()
    made = quotas(clock, user=Quota(runs_per_minute=1), anonymous=Quota(runs_per_minute=1))
    for number in range(50):
        made.account(f"key:{number}", "192.0.2.1").begin()
    made.account(None, "192.0.2.1").begin()
    with pytest.raises(QuotaExceeded, match="this address"):
        made.account(None, "192.0.2.1").begin()


def test_many_addresses_of_one_network():
    made = quotas(Clock(), anonymous=Quota(runs_per_minute=10))
    begun = 0
    with pytest.raises(QuotaExceeded):
        for number in range(1000):
            made.account(None, f"2001:db8:0:{number:x}::1").begin()
            begun += 1
    assert begun <= 40


def test_what_the_server_before_has_counted():
    clock = Clock()
    before, after = Sums(), Sums()
    before.add("principal:a", CPU, 5, clock.now)
    before.add("principal:a", CPU, 6, clock.now)
    rows = list(before.changed())
    assert rows == [("principal:a", CPU, 10 * DAY, 11)]
    assert list(before.changed()) == []
    after.add("principal:a", CPU, 1, clock.now)  # before the database answered
    after.restore(
        [*rows, ("principal:a", RUNS, 9 * DAY, 99), ("principal:a", "unknown", 10 * DAY, 9)], clock.now
    )
    assert after.amount("principal:a", CPU, clock.now) == 12
    assert after.amount("principal:a", RUNS, clock.now) == 0
    assert after.amount("principal:a", CPU, clock.now + DAY) == 0


def test_the_sums_are_bounded():
    sums = Sums()
    for number in range(MAX_SUMS + 100):
        sums.add(f"address:{number}", OUTPUT, 1, 0.0)
    assert len(list(sums.changed())) == MAX_SUMS


def test_several_roles_have_the_most_of_each():
    one = Quota(runs_per_minute=5, languages=("c",), memory_bytes=10, groups=False, sessions=3)
    other = Quota(runs_per_minute=0, languages=("python",), memory_bytes=7, background=False, sessions=4)
    assert most([one, other]) == Quota(
        runs_per_minute=0, languages=("c", "python"), memory_bytes=10, sessions=4
    )
    assert most([one, Quota()]).languages == ()


def test_roles_that_become_known_change_the_account_of_all_sessions():
    made = quotas(Clock(), user=Quota(sessions=1), operator=Quota(sessions=0))
    account = made.account("admin", "192.0.2.1")
    assert account.quota.sessions == 1
    assert made.account("admin", "192.0.2.9", ("operator",)) is account
    assert account.quota.sessions == 0


def test_sessions_are_those_of_the_settings_where_the_file_says_nothing():
    made = quotas(Clock(), teacher=Quota(sessions=60))
    assert made.account(None, "192.0.2.1").quota.sessions == 7
    assert made.account("a", "192.0.2.1", ("user",)).quota.sessions == 8
    assert made.account("b", "192.0.2.1", ("teacher",)).quota.sessions == 60


def test_languages_groups_memory_and_the_background():
    quota = Quota(languages=("c",), groups=False, memory_bytes=100, background=False)
    one = quotas(Clock(), user=quota).account("a", "192.0.2.1")
    one.check_open(m.Open("c", "c" * 22))
    with pytest.raises(NotAllowed, match="your languages: c"):
        one.check_open(m.Open("python", "c" * 22))
    with pytest.raises(NotAllowed, match="groups"):
        one.check_open(m.Open("c", "c" * 22, network="group"))
    with pytest.raises(BadLimit, match="at most 100"):
        one.check_open(m.Open("c", "c" * 22, limits={"memory_bytes": 101}))
    one.check_begin(background=False)
    with pytest.raises(NotAllowed, match="Idempotency-Key"):
        one.check_begin(background=True)
