"""A server that requires a credential: which ones are accepted and refused."""

from __future__ import annotations

import time
from collections.abc import Iterator

import aiohttp
import jwt
import pytest

from coderunner.schema import messages as m
from tests.harness import Server, connect, eventually, running_server

ADMIN = "0123456789abcdef" * 4
SECRET = "fedcba9876543210" * 4
PROXY = "127.0.0.2"  # a trusted one; requests of these tests come from 127.0.0.1 otherwise


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with running_server(
        tmp_path_factory.mktemp("identity"), ready=("bash",), LANGUAGES="bash", WARM_MAX="2", ANONYMOUS="no",
        ADMIN_KEY=ADMIN, JWT_SECRET=SECRET, JWT_ISSUER="https://school.example", JWT_AUDIENCE="coderunner",
        TRUSTED_PROXIES=PROXY, PROXY_USER_HEADER="X-Remote-User", PROXY_ROLES_HEADER="X-Remote-Roles",
        OPERATORS="jwt:olga",
    ) as one:  # fmt: skip
        yield one


def token(subject: str = "alice", **more) -> str:
    claims = {
        "iss": "https://school.example", "aud": "coderunner", "sub": subject, "exp": time.time() + 60, **more,
    }  # fmt: skip
    return jwt.encode(claims, SECRET, "HS256")


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def asked(server: Server, path: str, method: str = "GET", *, peer: str = "127.0.0.1", **fields):
    """Returns (status, document or None)."""
    connector = aiohttp.TCPConnector(local_addr=(peer, 0))
    async with aiohttp.ClientSession(connector=connector) as http:
        async with http.request(method, server.url + path, **fields) as answer:
            return answer.status, await answer.json(
                content_type=None
            ) if "json" in answer.content_type else None


async def opened(server: Server, **fields) -> str:
    """Returns "opened", or the codes of the error and of the close."""
    async with connect(server.url, **fields) as one:
        await one.send(m.Open("bash", one.client))

        def told() -> bool:
            return one.opened is not None or any(isinstance(each, m.ErrorMessage) for each in one.messages)

        await eventually(told, 30, "an answer")
        if one.opened is not None:
            await one.send(m.Close())
            await one.closed()
            return "opened"
        code = next(each.code for each in one.messages if isinstance(each, m.ErrorMessage))
        return f"{code} {await one.closed()}"


RUN = {"language": "bash", "files": [{"path": "main.sh", "content": "echo hello"}]}


async def test_without_a_credential_nothing_is_opened_or_run(server):
    assert await opened(server) == "unauthenticated 4401"
    status, problem = await asked(server, "api/run", "POST", json=RUN)
    assert (status, problem["code"]) == (401, "unauthenticated")
    assert "sign in" in problem["detail"]
    status, told = await asked(server, "api/identity")
    assert status == 200
    assert (told["principal"], told["required"], told["may_open"], told["ways"]) == (
        None,
        True,
        False,
        ["key"],
    )


async def test_the_page_is_there_for_everybody(server):
    assert (await asked(server, ""))[0] == 200
    assert (await asked(server, "api/languages"))[0] == 200


async def test_a_token_opens_in_a_header_and_in_a_subprotocol(server):
    assert await opened(server, headers=bearer(token())) == "opened"
    encoded = jwt.utils.base64url_encode(token("bob").encode()).decode()
    assert await opened(server, protocols=("coderunner.v1", f"coderunner.bearer.{encoded}")) == "opened"
    log = server.log.read_text()
    assert "principal=jwt:alice" in log
    assert "principal=jwt:bob" in log
    assert token() not in log


async def test_a_wrong_token_opens_nothing(server):
    for wrong in (
        token(exp=1),
        token(aud="x"),
        token(iss="x"),
        token() + "x",
        "x",
        jwt.encode({}, None, "none"),
    ):
        assert await opened(server, headers=bearer(wrong)) == "unauthenticated 4401"
        assert (await asked(server, "api/identity", headers=bearer(wrong)))[0] == 401


async def test_the_header_of_a_proxy_counts_from_the_proxy_only(server):
    headers = {"X-Remote-User": "paul", "X-Remote-Roles": "teacher"}
    _, told = await asked(server, "api/identity", peer=PROXY, headers=headers)
    assert (told["principal"], told["roles"], told["how"]) == ("proxy:paul", ["teacher", "user"], "proxy")
    _, told = await asked(server, "api/identity", headers=headers)
    assert told["principal"] is None
    assert await opened(server, headers=headers) == "unauthenticated 4401"
    # The client's own beside the proxy's; a browser that another site's page has sent.
    twice = [("X-Remote-User", "root"), ("X-Remote-User", "paul")]
    assert (await asked(server, "api/run", "POST", peer=PROXY, headers=twice, json=RUN))[0] == 401
    for foreign in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        status, _ = await asked(server, "metrics", peer=PROXY, headers=headers | foreign)
        assert status == 403


async def test_what_is_the_operators(server):
    for shown, status in (
        (ADMIN, 200),
        (token("olga"), 200),
        (token(roles=["operator"]), 200),
        (token(), 403),
        ("x", 401),
    ):
        assert (await asked(server, "metrics", headers=bearer(shown)))[0] == status, shown
    assert (await asked(server, "metrics"))[0] == 401, "without a credential, also on this machine"


async def test_runs_of_others_look_like_unknown_ones(server):
    key = {"Idempotency-Key": "a" * 32}
    status, answer = await asked(server, "api/run", "POST", json=RUN, headers=bearer(token("alice")) | key)
    assert status == 200, answer
    run = answer["id"]
    assert (await asked(server, f"api/runs/{run}", headers=bearer(token("alice"))))[0] == 200
    unknown = await asked(server, "api/runs/" + "A" * len(run), headers=bearer(token("bob")))
    for method in ("GET", "DELETE"):
        foreign = await asked(server, f"api/runs/{run}", method, headers=bearer(token("bob")))
        assert foreign == unknown
    # The same key of another caller is another run.
    _, other = await asked(server, "api/run", "POST", json=RUN, headers=bearer(token("bob")) | key)
    assert other["id"] != run


async def test_a_credential_in_an_address_is_none(server):
    _, told = await asked(server, f"api/identity?token={token()}&access_token={token()}&key={ADMIN}")
    assert told["principal"] is None
