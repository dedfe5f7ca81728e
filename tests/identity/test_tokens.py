"""Tokens (JWT): what is taken, and every way in which a forged one could be."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from coderunner.errors import ConfigError, IdentityUnavailable, Unauthenticated
from coderunner.identity import tokens
from coderunner.identity.tokens import KeySet, Verifier, keys_in, public_key_in
from tests.sessions.test_faults import Bug

ISSUER, AUDIENCE = "https://school.example", "coderunner"
SECRET = "0123456789abcdef" * 4
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def claims(**changed: Any) -> dict[str, Any]:
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": time.time() + 60, **changed}
    return {name: value for name, value in whole.items() if value is not None}


def pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))


def jwk(key: Any, kid: str, **more: str) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


class Issuer:
    """The key set of an issuer, and how often it was asked."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys, self.asked, self.gone = list(keys), 0, False

    async def get(self, url: str) -> dict[str, Any]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.gone:
            raise IdentityUnavailable("gone")
        return {"keys": self.keys}


def verifier(**fields: Any) -> Verifier:
    return Verifier(ISSUER, AUDIENCE, 5.0, **fields)


async def refused(taker: Verifier, token: str, words: str = "token") -> None:
    with pytest.raises(Unauthenticated, match=words) as caught:
        await taker.verify(token)
    assert token not in caught.value.message


async def test_each_algorithm_with_a_key_of_its_kind():
    keys = KeySet("", Issuer(jwk(RSA, "one"), jwk(EC, "two")))
    for key, algorithm, taker, headers in (
        (SECRET, "HS256", verifier(secret=SECRET), {}),
        (RSA, "RS256", verifier(public=RSA.public_key()), {}),
        (EC, "ES256", verifier(public=EC.public_key()), {}),
        (RSA, "RS256", verifier(keys=keys), {"kid": "one"}),
        (EC, "ES256", verifier(keys=keys), {"kid": "two"}),
        (EC, "ES256", verifier(keys=keys), {}),  # the only key of its algorithm
    ):
        token = jwt.encode(claims(), key, algorithm, headers=headers)
        assert (await taker.verify(token))["sub"] == "alice"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"exp": time.time() - 60}, "expired"),
        ({"exp": None}, "lacks"),
        ({"nbf": time.time() + 3600}, "not valid yet"),
        ({"aud": "another"}, "audience"),
        ({"aud": ["another"]}, "audience"),
        ({"aud": None}, "lacks|audience"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": None}, "lacks|issuer"),
        ({"sub": None}, "lacks"),
        ({"exp": "soon"}, "not known"),
        ({"exp": 1e400}, "malformed|not known"),
    ],
)
async def test_a_token_that_says_something_else_is_refused(changed, words):
    token = jwt.encode(claims(**changed), SECRET, "HS256")
    await refused(verifier(secret=SECRET), token, words)


async def test_within_the_leeway_of_clocks():
    token = jwt.encode(claims(exp=time.time() - 2), SECRET, "HS256")
    assert (await verifier(secret=SECRET).verify(token))["sub"] == "alice"


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_no_algorithm_is_none():
    for name in ("none", "None", "NONE", "", "nOnE"):
        for signature in ("", part("x")):
            token = f"{part({'alg': name, 'typ': 'JWT'})}.{part(claims())}.{signature}"
            for taker in (verifier(secret=SECRET), verifier(public=RSA.public_key())):
                await refused(taker, token)


async def test_a_public_key_is_no_secret():
    """Key confusion: HS256 with the text of the public key, which everybody has."""
    for text in (pem(RSA), pem(RSA).strip(), json.dumps(jwk(RSA, "one")).encode()):
        signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'one'})}.{part(claims())}"
        mac = hmac.new(text, signed.encode(), hashlib.sha256).digest()
        token = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        await refused(verifier(public=RSA.public_key()), token, "algorithm")
        await refused(verifier(keys=KeySet("", Issuer(jwk(RSA, "one")))), token, "algorithm")
        await refused(verifier(public=RSA.public_key(), secret=SECRET), token, "not known")


async def test_other_keys_and_algorithms_are_refused():
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    await refused(verifier(public=RSA.public_key()), jwt.encode(claims(), other, "RS256"), "not known")
    for algorithm in ("RS512", "PS256"):
        await refused(verifier(public=RSA.public_key()), jwt.encode(claims(), RSA, algorithm), "algorithm")
    await refused(verifier(secret=SECRET), jwt.encode(claims(), SECRET, "HS512"), "algorithm")
    # A key that comes with the token, or an address from which it could be had.
    for headers in (
        {"jwk": jwk(other, "x")},
        {"jku": "https://evil.example"},
        {"x5u": "https://evil.example"},
    ):
        token = jwt.encode(claims(), other, "RS256", headers=headers)
        await refused(verifier(public=RSA.public_key()), token, "not known")
    critical = jwt.encode(claims(), SECRET, "HS256", headers={"crit": ["x"], "x": 1})
    await refused(verifier(secret=SECRET), critical)


@pytest.mark.parametrize("token", ["..", "a.b.c", "." * 5000, "eyJ.eyJ.x", f"{part([1])}.{part({})}.x"])
async def test_what_is_no_token(token):
    await refused(verifier(secret=SECRET), token)


def test_keys_of_a_set_that_are_none_of_ours():
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    wide = ec.generate_private_key(ec.SECP384R1())
    symmetric = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "kid": "s"}
    rows = [
        jwk(RSA, "good"), jwk(small, "small"), jwk(wide, "wide"), symmetric, jwk(EC, "e", use="enc"),
        jwk(EC, "wrong", alg="RS256"), {"kty": "RSA"}, {"kty": 5}, {}, 7,
    ]  # fmt: skip
    assert list(keys_in({"keys": rows})) == [("RS256", "good")]
    assert keys_in({"keys": "x"}) == keys_in({}) == {}


async def test_a_key_set_is_kept_and_read_anew_for_a_new_key(monkeypatch):
    issuer = Issuer(jwk(RSA, "one"))
    taker = verifier(keys=KeySet("", issuer))
    old = jwt.encode(claims(), RSA, "RS256", headers={"kid": "one"})
    new = jwt.encode(claims(), EC, "ES256", headers={"kid": "two"})
    await asyncio.gather(*(taker.verify(old) for _ in range(20)))
    assert issuer.asked == 1
    issuer.keys.append(jwk(EC, "two"))
    await refused(taker, new, "key that its issuer does not have")  # it was asked a moment ago
    assert issuer.asked == 1, "invented key ids do not make this server ask again and again"
    monkeypatch.setattr(tokens, "AGAIN_SECONDS", 0.0)
    assert await taker.verify(new)
    assert issuer.asked == 2


async def test_a_caller_who_gives_up_leaves_the_reading_to_the_next():
    issuer = Issuer(jwk(RSA, "one"))
    answers, get = asyncio.Event(), issuer.get

    async def slow(url: str) -> dict:
        await answers.wait()
        return await get(url)

    issuer.get = slow
    taker = verifier(keys=KeySet("", issuer))
    token = jwt.encode(claims(), RSA, "RS256", headers={"kid": "one"})
    # As a WebSocket: `hello` does not wait for as long as the request afterwards.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await taker.verify(token)
    second = asyncio.ensure_future(taker.verify(token))
    await asyncio.sleep(0)
    answers.set()
    assert (await second)["sub"] == "alice"
    assert issuer.asked == 1


async def test_a_fault_at_reading_a_key_set_is_logged_and_the_next_reading_serves(monkeypatch, caplog):
    monkeypatch.setattr(tokens, "AGAIN_SECONDS", 0.0)
    issuer = Issuer(jwk(RSA, "one"))
    get = issuer.get

    async def fails(url: str) -> None:
        raise Bug

    issuer.get = fails
    taker = verifier(keys=KeySet("", issuer))
    token = jwt.encode(claims(), RSA, "RS256", headers={"kid": "one"})
    with pytest.raises(Bug):
        await taker.verify(token)
    await asyncio.sleep(0)
    told = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert {"owner": "keys of tokens", "task": "token-keys"} in told
    issuer.get = get
    assert (await taker.verify(token))["sub"] == "alice"


async def test_an_issuer_that_cannot_be_asked(monkeypatch):
    monkeypatch.setattr(tokens, "AGAIN_SECONDS", 0.0)
    issuer = Issuer(jwk(RSA, "one"))
    taker = verifier(keys=KeySet("", issuer))
    token = jwt.encode(claims(), RSA, "RS256", headers={"kid": "one"})
    issuer.gone = True
    with pytest.raises(IdentityUnavailable):
        await taker.verify(token)
    issuer.gone = False
    assert await taker.verify(token)
    issuer.gone = True
    monkeypatch.setattr(tokens, "FRESH_SECONDS", 0.0)
    assert await taker.verify(token), "the keys that are known serve on"


def test_a_public_key_in_a_file(tmp_path):
    file = tmp_path / "key.pem"
    file.write_bytes(pem(EC))
    assert public_key_in(str(file)).curve.name == "secp256r1"
    for content in (b"", b"x", pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))):
        file.write_bytes(content)
        with pytest.raises(ConfigError):
            public_key_in(str(file))
    with pytest.raises(ConfigError, match="No such file"):
        public_key_in(str(tmp_path / "none.pem"))
