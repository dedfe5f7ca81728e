"""The chain of verifiers: which credential counts, and which is refused."""

from __future__ import annotations

import asyncio
import time

import pytest

from coderunner import config
from coderunner.errors import DatabaseUnavailable, IdentityUnavailable, Unauthenticated
from coderunner.identity import stored as stored_keys
from coderunner.identity.chain import Shown, Verifiers, made
from coderunner.identity.keys import Key, KeyRing, digest, new_key, parts_of
from coderunner.identity.principal import ANONYMOUS, NOBODY
from coderunner.identity.sealing import Sealer
from coderunner.identity.sign_ins import SignIns

ADMIN_KEY = "0123456789abcdef" * 4


def stored(**fields) -> tuple[str, Key]:
    ident, text, hashed = new_key()
    return text, Key(ident, "a key", hashed, frozenset(("user",)), **fields)


async def test_without_a_credential():
    assert await Verifiers().principal(Shown()) == ANONYMOUS
    assert await Verifiers(anonymous=False).principal(Shown()) == NOBODY


async def test_the_operators_key():
    identity = Verifiers(admin_key=ADMIN_KEY, anonymous=False)
    found = await identity.principal(Shown(ADMIN_KEY.encode()))
    assert (found.subject, found.may("operate")) == ("admin", True)
    for wrong in (b"", ADMIN_KEY[:-1].encode(), ADMIN_KEY.encode() + b"x", b"\xff\xfe", b"a.b.c"):
        with pytest.raises(Unauthenticated):
            await identity.principal(Shown(wrong))
    with pytest.raises(Unauthenticated):  # an empty credential is not the key that is not set
        await Verifiers().principal(Shown(b""))


async def test_api_keys():
    identity = Verifiers(anonymous=False)
    text, key = stored(rooms=frozenset(("algebra",)))
    identity.keys.replace([key])
    found = await identity.principal(Shown(text.encode()))
    assert (found.subject, found.rooms, found.how) == (f"key:{key.id}", {"algebra"}, "api_key")
    ident, secret = parts_of(text)
    other_text, other = stored()
    identity.keys.replace([key, other])
    for wrong in (
        f"crk_{ident}_{'A' * 43}", f"crk_{other.id}_{secret}", f"crk_{ident}_{secret}x", text[:-1],
        f"crk_{ident}_{key.digest[:43]}", "crk_", "crk_000000000000_" + secret, text.upper(),
    ):  # fmt: skip
        with pytest.raises(Unauthenticated):
            await identity.principal(Shown(wrong.encode()))
    assert (await identity.principal(Shown(other_text.encode()))).subject == f"key:{other.id}"


async def test_a_key_that_was_not_read_yet_is_not_called_wrong():
    identity = Verifiers(anonymous=False, admin_key=ADMIN_KEY)
    identity.keys.awaited = True
    text, key = stored()
    with pytest.raises(IdentityUnavailable):
        await identity.principal(Shown(text.encode()))
    assert (await identity.principal(Shown(ADMIN_KEY.encode()))).subject == "admin"
    identity.keys.replace([])
    with pytest.raises(Unauthenticated):
        await identity.principal(Shown(text.encode()))
    identity.keys.replace([key])
    assert (await identity.principal(Shown(text.encode()))).known


def test_a_key_that_has_ended_opens_nothing():
    now = time.time()
    for fields, good in (
        ({}, True),
        ({"expires": now + 5}, True),
        ({"expires": now}, False),
        ({"revoked": 1.0}, False),
    ):
        text, key = stored(**fields)
        ring = KeyRing()
        ring.replace([key])
        assert (ring.find(text, now) is not None) == good


def test_only_a_hash_is_stored():
    ident, text, hashed = new_key()
    _, secret = parts_of(text)
    assert hashed == digest(secret)
    assert secret not in repr(Key(ident, "a", hashed, frozenset()))
    assert len({new_key()[1] for _ in range(100)}) == 100


async def test_the_header_of_a_proxy():
    settings = config.load(
        {"TRUSTED_PROXIES": "10.0.0.1", "PROXY_USER_HEADER": "X-User", "TEACHERS": "proxy:tom"}
    )
    identity = made(settings, b"key")
    found = await identity.principal(Shown(user="tom", rooms="algebra,biology"))
    assert (found.subject, found.roles, found.rooms) == (
        "proxy:tom", {"user", "teacher"}, {"algebra", "biology"},
    )  # fmt: skip
    with pytest.raises(Unauthenticated):
        await identity.principal(Shown(user="a\nb"))


def test_who_watches_by_a_credential_that_has_ended_is_sent_away():
    sealer = Sealer(b"key")
    sign_ins = SignIns(sealer, 60)
    value = {"subject": "oidc:tina", "name": "Tina", "roles": ["teacher"], "rooms": ["algebra"]}
    one, other = (
        sealer.seal("signed-in", value | {"id": ident, "expires": time.time() + 60}) for ident in "ab"
    )
    identity = Verifiers(sign_ins=sign_ins)
    tina, elsewhere = sign_ins.principal(one), sign_ins.principal(other)
    assert tina.until == pytest.approx(time.time() + 60, abs=30)
    assert not identity.ended(tina, time.time(), oversees=True)
    sign_ins.sign_out(one)
    assert identity.ended(tina, time.time(), oversees=True)
    assert not identity.ended(tina, time.time(), oversees=False), "a session of its own has a token"
    assert not identity.ended(elsewhere, time.time(), oversees=True)
    assert not identity.ended(ANONYMOUS, time.time(), oversees=True)
    assert identity.ended(elsewhere, time.time() + 90, oversees=True), "it has expired"
    assert not identity.ended(elsewhere, time.time() + 90, oversees=False)
    _, key = stored(expires=1.0)
    identity.keys.replace([key])
    for oversees in (True, False):
        assert identity.ended(key.principal(), 2.0, oversees=oversees)


async def test_when_a_key_was_used_is_not_forgotten_while_the_database_is_away(monkeypatch):
    monkeypatch.setattr(stored_keys, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(stored_keys, "NOTE_SECONDS", 0.0)
    text, key = stored()
    ring, noted, away = KeyRing(), asyncio.Event(), [True, True]

    class Store:
        async def read(self, _work, _seconds):
            return [key]

        async def write(self, work, _seconds):
            if away:
                away.pop()
                raise DatabaseUnavailable("away")
            assert work.keywords["used"] == {key.id: 5.0}
            noted.set()

    ring.replace([key])
    assert ring.find(text, 5.0) is not None
    watch = asyncio.create_task(stored_keys.watch(ring, Store()))
    async with asyncio.timeout(20):
        await noted.wait()
    watch.cancel()
    await asyncio.wait([watch])
    assert ring.used == {}
