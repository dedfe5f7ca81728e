"""Attacks on the capability URLs of programs' files (`/view/...`), which need no token: forged ones, other
files by the URL of one, use after expiry, and pages that reach for the origin."""

from __future__ import annotations

import asyncio
import base64
import secrets
import unicodedata
from urllib.parse import quote

from coderunner.attack import raw
from coderunner.attack.case import UNTRIED, Group
from coderunner.attack.rest import Rest, session
from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer
from coderunner.client.rest import ask
from coderunner.schema import messages as m

GROUP = Group("addresses")

_FILES = (
    "import os,unicodedata\n"
    "os.makedirs('out/deep', exist_ok=True)\n"
    "def put(path, text='SECRET'): open(path, 'w').write(text)\n"
    "for one in ('secret.json', 'out/.env.json', 'out/main.py', 'out/data.json'): put(one)\n"
    "put('out/deep/x.json')\n"
    "put(unicodedata.normalize('NFD', 'é.png'))\n"
    "put(unicodedata.normalize('NFC', 'é.png'), 'own'); put('x.svg', '<svg/>')\n"
    "put('out/x.html', '<script>fetch(\"/api/queue-stats\")</script>')\n"
)
_MADE = ("out/x.html", "x.svg", "é.png")


async def _made(peer: Peer) -> dict[str, m.Artifact]:
    """The artifacts of `_FILES` by path, once all have been announced. Raises Unexpected."""

    def found() -> dict[str, m.Artifact]:
        return {one.path: one for one in peer.messages if isinstance(one, m.Artifact)}

    await peer.wait(lambda: found().keys() >= set(_MADE), 10, "artifacts")
    return found()


async def _status(stage: Stage, path: str) -> int:
    """The HTTP status of a request for exactly this path: libraries would normalise `..` and escapes."""
    async with raw.connect(stage.url) as one:
        await one.send(raw.request(stage.url, path, stage.headers))
        return await one.status()


def _changed(key: str, at: int, by: int = 1) -> str:
    """The key of a capability URL with its byte number `at` increased by `by`."""
    data = bytearray(base64.urlsafe_b64decode(key))
    data[at] = (data[at] + by) % 256
    return base64.urlsafe_b64encode(data).decode()


@GROUP.case(
    "addresses-guessed", "a session's files, by an address that is guessed, forged or another session's",
    "404 only, all alike",
)  # fmt: skip
async def _guessed(stage: Stage) -> str:
    async with session(stage, _FILES) as (peer, rest), session(stage, _FILES) as (other, _):
        # view/SESSION/KEY/PATH
        _, name, key, path = (await _made(peer))["x.svg"].url.split("/")
        theirs = (await _made(other))["x.svg"].url.split("/")[2]
        token, rest.token = rest.token, ""
        # Bytes of each part of the capability: its depth, its time, and its signature.
        forged = [_changed(key, at, by) for at in (0, 1, 5, 6, 29) for by in (1, 128)]
        tried = [theirs, secrets.token_urlsafe(30), token, "", key[:-1], key + "A", key.swapcase()]
        answers = set()
        for parts in (
            *((name, one, path) for one in tried + forged),
            ("x-" + name, key, path), (name[:-1] + "x", key, path), (name, theirs, "../" + path),
        ):  # fmt: skip
            answer = await rest.ask("GET", "view/" + "/".join(parts))
            if answer.status != 404:
                return f"{answer.status} for {parts}"
            if "json" in answer.headers["Content-Type"]:  # others are nginx's
                answers.add(answer.body)
        return "404 only, all alike" if len(answers) == 1 else f"told apart: {answers}"


@GROUP.case(
    "address-stolen", "the other files of a session, by the address of one, by its paths and by links",
    "itself, and of a page what it loads",
)  # fmt: skip
async def _stolen(stage: Stage) -> str:
    async with session(stage, _FILES) as (peer, _):
        found = await _made(peer)
        page = found["out/x.html"].url.removesuffix("out/x.html")
        image = found["é.png"].url.rpartition("/")[0] + "/"
        drawing = found["x.svg"].url.removesuffix("x.svg")
        parted = quote(unicodedata.normalize("NFD", "é.png"))
        out = (
            # Each is a way in which some server or proxy resolves a path after it was checked.
            "secret.json", "out/../secret.json", "out/%2e%2e/secret.json", "out/%2E./secret.json",
            "out/..%2fsecret.json", "out%2f..%2fsecret.json", "out/%252e%252e/secret.json",
            "out//../secret.json", "out/.env.json", "out/main.py", "out/deep/../../secret.json",
            "out/./../secret.json", "./secret.json", "%2e/secret.json", "out\\..\\secret.json",
            "out/%5c..%5c..%5csecret.json", "/secret.json", "main.py", "out/data.json%00.png",
            "out/x.html/../../secret.json", "é.png", "x.svg",
        )  # fmt: skip
        tries = [
            *(page + one for one in out), drawing + "secret.json", drawing + "out/data.json",
            drawing + "X.SVG", drawing + "x.svg/../secret.json", image + parted, image + "secret.json",
        ]  # fmt: skip
        for one in tries:
            if (status := await _status(stage, one)) not in (400, 403, 404):
                return f"{status} for {one.split('/', 3)[3]}"
        own = (page + "out/data.json", page + "out/deep/x.json", found["é.png"].url, found["x.svg"].url)
        for one in own:
            if (status := await _status(stage, one)) != 200:
                return f"{status} for {one.split('/', 3)[3]}, which it is for"
        # After the address was made: the file is opened without following links, at each request.
        links = "import os\nos.unlink('x.svg'); os.symlink('secret.json', 'x.svg')\n"
        links += "os.rename('out', 'before'); os.symlink('/etc', 'out')\n"
        await peer.result(2, links)
        for one in (drawing + "x.svg", page + "out/x.html", page + "out/hosts.json", page + "out/data.json"):
            if (status := await _status(stage, one)) not in (400, 404):
                return f"{status} for a link in the place of {one.split('/', 3)[3]}"
        return "itself, and of a page what it loads"


async def _until_404(rest: Rest, url: str, seconds: float) -> bool:
    """Requests a URL until it is unknown; False if it is still known after `seconds`."""
    until = asyncio.get_running_loop().time() + seconds
    while (await rest.ask("GET", url)).status != 404:
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(0.1)
    return True


@GROUP.case(
    "address-outlived", "a session's file, by its URL after it has expired, or the session has ended",
    "ends with its time, and with the session",
)  # fmt: skip
async def _outlived(stage: Stage) -> str:
    async with session(stage, _FILES) as (peer, rest):
        url = (await _made(peer))["x.svg"].url
        [hello] = [one for one in peer.messages if isinstance(one, m.Hello)]
        seconds = hello.limits["view_ms"] / 1000
        # VIEW_TTL is five minutes by default: a case takes no longer than MAX_SECONDS.
        if seconds > 30:
            return f"{UNTRIED}an address lives {seconds:g} s on this server"
        if not await _until_404(rest, url, seconds + 3):
            return "opens for longer than it should"
        token, rest.token = rest.token, "guessed"
        for path in (f"/views?url={url}", "/views"):
            if (await rest("POST", path, f'{{"urls": ["{url}"]}}')).error != "no_session":
                return "kept without the token"
        if (await rest.ask("GET", url + "?framed=x")).status != 404:
            return "opens again"
        rest.token = token
        await rest("POST", "/views", f'{{"urls": ["{url}"]}}')
        if (await rest.ask("GET", url)).status != 200:
            return "not kept with the token"
        await peer.send(m.Close())
        ended = await _until_404(rest, url, 10)
        return "ends with its time, and with the session" if ended else "opens when the session is over"


@GROUP.case(
    "pages-of-a-program", "the page and its tokens, by HTML and SVG of a program, in a frame and at the top",
    "no origin, no foreign source, no sniffing, never at the top",
)  # fmt: skip
async def _pages(stage: Stage) -> str:
    async with session(stage, _FILES) as (peer, rest):
        for made in (await _made(peer)).values():
            if made.path.endswith(".png"):
                continue
            answer = await rest.ask("GET", made.url)  # as a script or an image loads it, and no navigation
            rules = dict(
                rule.strip().partition(" ")[::2]
                for rule in answer.headers["Content-Security-Policy"].split(";")
            )
            # allow-same-origin is missing: the document has an opaque origin, and no cookies or storage (HTML
            # standard).
            if rules.get("sandbox") != "allow-scripts":
                return f"{made.path} has an origin: {rules}"
            # The only address that it may load from: the files beside the page, under the same capability.
            own = rest.url.split("://")[1] + "/".join(made.url.split("/")[:3]) + "/out/"
            sources = {
                word for name, words in rules.items() if name != "frame-ancestors" for word in words.split()
            }
            foreign = sources - {
                own, "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:", "allow-scripts"
            }  # fmt: skip
            if rules.get("default-src") != "'none'" or foreign:
                return f"{made.path} may load {foreign}"
            if answer.headers["X-Content-Type-Options"] != "nosniff":
                return f"{made.path} is sniffed"
            for query in ("", "?framed", "?framed=x"):
                for headers in (
                    {"Accept": "text/html,*/*;q=0.8"}, {"Accept": "text/html", "Sec-Fetch-Dest": "document"}
                ):  # fmt: skip
                    top = await ask(rest.url + made.url + query, headers=headers, http=rest.http)
                    if b'sandbox="allow-scripts"' not in top.body:
                        return f"{made.path}{query} is at the top"
        return "no origin, no foreign source, no sniffing, never at the top"
