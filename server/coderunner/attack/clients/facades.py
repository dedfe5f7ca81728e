"""Attacks on the interfaces of other systems: tokens of others, callbacks to private addresses, paths and
archives that escape the workspace."""

from __future__ import annotations

import base64
import io
import secrets
import uuid
import zipfile
from typing import Any

from coderunner.attack.case import UNTRIED, Group
from coderunner.attack.clients.requests import alike, post
from coderunner.attack.stage import Stage
from coderunner.client import rest

GROUP = Group("facades")
PYTHON = 71  # Judge0's number of it
# Private and local addresses in the notations that resolvers take: names, IPv6, decimal and hexadecimal IPv4,
# IPv4 in IPv6; other schemes, a password, a header injected by a line break.
CALLBACKS = (
    "http://127.0.0.1/", "http://localhost:3000/api/run", "http://[::1]/", "http://0/", "http://2130706433/",
    "http://0x7f.1/", "http://10.0.0.1/", "http://192.168.0.1/", "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:127.0.0.1]/", "http://[fd00::1]/", "file:///etc/passwd", "gopher://127.0.0.1:6379/_x",
    "http://user:secret@127.0.0.1/", "//127.0.0.1/", "http://127.0.0.1\r\nHost: x/",
)  # fmt: skip


async def _offered(stage: Stage, path: str) -> str:
    """Why a facade cannot be attacked here, or ""."""
    answer = await rest.ask(stage.url + path, headers=stage.headers)
    return "" if answer.status == 200 else UNTRIED + "the server does not offer this interface"


def _submission(**fields: Any) -> dict[str, Any]:
    """A submission of Judge0's. `fields`: further or other ones."""
    return {"language_id": PYTHON, "source_code": "print(1)", **fields}


def _zip(*names: str, content: bytes = b"x") -> str:
    """A zip archive in base64, with `content` in each of the files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return base64.b64encode(packed.getvalue()).decode()


@GROUP.case(
    "judge0-tokens-guessed", "submissions of others, by tokens near to theirs",
    "404, listed as null, list 403",
)  # fmt: skip
async def _tokens(stage: Stage) -> str:
    if why := await _offered(stage, "about"):
        return why
    token = (await post(stage, "submissions?wait=true", _submission())).document["token"]
    guesses = [token[:-1], token.upper(), token[:-1] + "0x", str(uuid.uuid4()), "%2e%2e", token + "%00"]
    seen = set()
    for guess in guesses:
        if guess != token:
            answer = await rest.ask(stage.url + f"submissions/{guess}", headers=stage.headers)
            seen.add(str(answer.status))
    batch = await rest.ask(
        stage.url + f"submissions/batch?tokens={','.join(guesses[:4])}", headers=stage.headers
    )
    found = [one for one in batch.document["submissions"] if one is not None]
    listed = await rest.ask(stage.url + "submissions")
    return f"{alike(list(seen))}, listed as {found or 'null'}, list {listed.status}"


@GROUP.case("judge0-callbacks", "services behind the server, by addresses of callbacks", "422 callback_url")
async def _callbacks(stage: Stage) -> str:
    if why := await _offered(stage, "about"):
        return why
    seen = set()
    for address in CALLBACKS:
        answer = await post(stage, "submissions", _submission(callback_url=address))
        seen.add(f"{answer.status} {' '.join(sorted(answer.document))}")
    return alike(list(seen))


@GROUP.case(
    "judge0-archives", "the workspace's borders and the server's memory, by additional files",
    "422 additional_files",
)  # fmt: skip
async def _archives(stage: Stage) -> str:
    if why := await _offered(stage, "about"):
        return why
    large = _zip("a", content=bytes(64 << 20))
    many = _zip(*(f"f{number}" for number in range(5000)))
    packed = [_zip("../x"), _zip("a/../../x"), _zip("/etc/x"), _zip("..\\x"), large, many]
    seen = set()
    # The last one has only the signature of a zip archive.
    for one in [*packed, base64.b64encode(b"PK\3\4" + secrets.token_bytes(500)).decode()]:
        answer = await post(stage, "submissions", _submission(additional_files=one))
        seen.add(f"{answer.status} {' '.join(sorted(answer.document))}")
    return alike(list(seen))


@GROUP.case("piston-paths", "the workspace's borders, by names of files", "400 message")
async def _piston(stage: Stage) -> str:
    if why := await _offered(stage, "api/v2/piston/runtimes"):
        return why
    seen = set()
    for name in ("../x.py", "a/../../x.py", "/../x.py", "a\0.py", "..\\x.py", "x" * 300 + ".py"):
        files = [{"name": "main.py", "content": "print(1)"}, {"name": name, "content": "x"}]
        wanted = {"language": "python", "version": "*", "files": files}
        answer = await post(stage, "api/v2/piston/execute", wanted)
        seen.add(f"{answer.status} {' '.join(sorted(answer.document))}")
    return alike(list(seen))


@GROUP.case("jobe-files", "files of the server, by ids and names of a run's files", "404 / 400 404")
async def _jobe(stage: Stage) -> str:
    prefix = "jobe/index.php/restapi"
    if why := await _offered(stage, f"{prefix}/languages"):
        return why
    seen, run = set(), set()
    for name in ("../../../../etc/passwd", "%2e%2e%2fetc%2fpasswd", "..", secrets.token_hex(16)):
        answer = await rest.ask(stage.url + f"{prefix}/files/{name}", method="HEAD", headers=stage.headers)
        seen.add(str(answer.status))
        for row in ([name, "x"], [secrets.token_hex(16), "../x"]):
            spec = {"language_id": "python3", "sourcecode": "print(1)", "file_list": [row]}
            run.add(str((await post(stage, f"{prefix}/runs", {"run_spec": spec})).status))
    return f"{alike(list(seen))} / {' '.join(sorted(run))}"


@GROUP.case("facades-too-large", "memory, by bodies above the bound", "413 413 413, then 200")
async def _large(stage: Stage) -> str:
    if why := await _offered(stage, "about") or await _offered(stage, "api/v2/piston/runtimes"):
        return why
    # Above each bound: 4 MiB for a body, 8 MiB for a batch.
    text = "x" * (9 << 20)
    wanted = {"language": "python", "version": "*", "files": [{"content": text}]}
    seen = [
        await post(stage, "submissions", _submission(source_code=text)),
        await post(stage, "submissions/batch", {"submissions": [_submission(source_code=text)]}),
        await post(stage, "api/v2/piston/execute", wanted),
    ]
    after = await rest.ask(stage.url + "about")
    return f"{' '.join(str(one.status) for one in seen)}, then {after.status}"
