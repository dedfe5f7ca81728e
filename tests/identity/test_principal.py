"""Who may do what, and who sees what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.errors import NotAllowed, Unauthenticated
from coderunner.identity.claims import ClaimRules
from coderunner.identity.principal import (
    ADMIN,
    ANONYMOUS,
    MAX_ROOMS,
    NOBODY,
    ROLES,
    SCOPES,
    Principal,
    name_of,
    roles_of,
    rooms_of,
    subject_of,
)
from coderunner.identity.target import local_target

ALICE = Principal("jwt:alice", "Alice", frozenset(("user",)), frozenset(("algebra",)))
TEACHER = Principal("jwt:tom", "Tom", frozenset(("user", "teacher")), frozenset(("algebra",)))


def test_what_each_may():
    assert [scope for scope in SCOPES if NOBODY.may(scope)] == []
    assert [scope for scope in SCOPES if ANONYMOUS.may(scope)] == ["session", "run"]
    assert [scope for scope in SCOPES if TEACHER.may(scope)] == ["session", "run"]
    assert [scope for scope in SCOPES if ADMIN.may(scope)] == list(SCOPES)
    metrics = Principal("key:1", "prometheus", frozenset(("operator",)), scopes=frozenset(("metrics",)))
    assert [scope for scope in SCOPES if metrics.may(scope)] == ["metrics"]
    # A scope never gives more than the roles.
    wide = Principal("key:2", "wide", frozenset(("user",)), scopes=frozenset(SCOPES))
    assert [scope for scope in SCOPES if wide.may(scope)] == ["session", "run"]


def test_who_is_not_known_is_told_to_sign_in_and_who_is_known_that_it_may_not():
    with pytest.raises(Unauthenticated, match="credential"):
        NOBODY.require("session")
    with pytest.raises(NotAllowed, match="only operators"):
        ALICE.require("operate")
    ALICE.require("session")


def test_who_sees_a_session():
    assert ALICE.sees("jwt:alice", None)
    assert not ALICE.sees("jwt:bob", "algebra"), "a room is shared with its teachers, not among students"
    assert not ALICE.sees(None, None)
    assert not ANONYMOUS.sees(None, None), "nobody in particular owns nothing"
    assert TEACHER.sees("jwt:bob", "algebra")
    assert not TEACHER.sees("jwt:bob", "biology")
    assert not TEACHER.sees("jwt:bob", None)
    assert ADMIN.sees("jwt:bob", None)
    narrow = Principal("key:1", "prometheus", frozenset(("operator",)), scopes=frozenset(("metrics",)))
    assert not narrow.sees("jwt:bob", None), "a key for metrics looks into no session"


@pytest.mark.parametrize("given_", ["", "a" * 249, "a\nb", "a\x1b[0m", 5, None, ["a"]])
def test_a_subject_that_could_be_mistaken_is_none(given_):
    with pytest.raises(ValueError, match="subject"):
        subject_of("jwt", given_)


@given(st.text(max_size=300))
def test_names_are_short_and_on_one_line(text):
    name = name_of(text, "x")
    assert len(name) <= 100
    assert name.isprintable()


def test_roles_and_rooms_of_claims():
    assert roles_of(["operator", "root", 5]) == {"user", "operator"}
    assert roles_of("teacher, operator") == set(ROLES)
    assert roles_of({"operator": True}) == {"user"}
    assert rooms_of(["algebra-1", "a b", "../x", "-x"]) == {"algebra-1"}
    assert len(rooms_of([f"r{number}" for number in range(1000)])) == MAX_ROOMS


def test_claims_within_objects():
    rules = ClaimRules(roles_claim="realm_access.roles", rooms_claim="https://example.com/rooms")
    claims = {"sub": "a", "realm_access": {"roles": ["teacher"]}, "https://example.com/rooms": ["x"]}
    principal = rules.principal("oidc", claims)
    assert (principal.subject, principal.roles, principal.rooms) == ("oidc:a", {"user", "teacher"}, {"x"})
    assert rules.principal("oidc", {"sub": "a", "realm_access": ["roles"]}).roles == {"user"}


def test_roles_of_the_settings():
    rules = ClaimRules(operators=frozenset(("jwt:alice",)))
    assert "operator" in rules.raised(ALICE).roles
    assert "operator" not in rules.raised(Principal("proxy:alice", "alice", frozenset(("user",)))).roles


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
        "javascript:alert(1)", "", "evil", "/\n/evil.example", "/" + "a" * 2000, "/é",
    ],
)  # fmt: skip
def test_a_sign_in_leads_to_no_other_site(text):
    assert local_target(text) == "/"


def test_a_sign_in_leads_back_to_where_it_began():
    assert local_target("/tools/run/?project=1") == "/tools/run/?project=1"


def test_when_a_credential_ends():
    assert ClaimRules().principal("jwt", {"sub": "tina", "exp": 1790000000}).until == 1790000000
    raised = ClaimRules(teachers=frozenset(("jwt:tina",))).raised(
        replace(TEACHER, subject="jwt:tina", until=5.0)
    )
    assert raised.until == 5.0
    assert ClaimRules().proxied("tina", "teacher", "algebra").until is None
