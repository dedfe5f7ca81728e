"""A group's names and addresses."""

from __future__ import annotations

import re
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.core.groups import MAX_MEMBERS, RESERVED, choose_name, free_subnets, subnets_of
from coderunner.errors import MemberTaken

POOL = IPv4Network("10.213.0.0/24")
LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


@given(st.text(min_size=1, max_size=40), st.integers(0, 20))
def test_a_name_made_by_us_is_a_new_host_name(language, count):
    taken: set[str] = set()
    for _ in range(count):
        name = choose_name(None, language, taken)
        assert LABEL.fullmatch(name)
        assert name not in taken | RESERVED
        taken.add(name)


def test_a_name_given_back_is_given_again():
    assert choose_name(None, "c", {"c-1", "c-3"}) == "c-2"


@pytest.mark.parametrize("name", ["alice", *sorted(RESERVED)])
def test_a_name_is_had_once(name):
    with pytest.raises(MemberTaken, match=name):
        choose_name(name, "python", {"alice"})
    assert choose_name("bob", "python", {"alice"}) == "bob"


blocks = st.builds(
    lambda number, prefix: IPv4Network((number << 4 & ~((1 << 32 - prefix) - 1) | 10 << 24, prefix)),
    st.integers(0, (1 << 20) - 1), st.integers(8, 32),
)  # fmt: skip


@given(st.lists(blocks, max_size=20), st.integers(0, 1 << 20))
def test_addresses_are_of_the_pool_and_nobody_else_s(taken, first):
    found = list(free_subnets(POOL, taken, first))
    assert len(set(found)) == len(found)
    for subnet in found:
        assert subnet.subnet_of(POOL)
        assert subnet.num_addresses >= MAX_MEMBERS + 3
        assert not any(subnet.overlaps(other) for other in taken)
    free = [one for one in POOL.subnets(new_prefix=28) if not any(one.overlaps(other) for other in taken)]
    assert set(found) == set(free)


def test_a_pool_has_room_for_so_many():
    assert subnets_of(IPv4Network("10.0.0.0/16")) == 4096
    assert subnets_of(IPv4Network("10.0.0.0/28")) == 1
    assert subnets_of(IPv4Network("10.0.0.0/29")) == 0
    assert list(free_subnets(POOL, [POOL], 0)) == []
