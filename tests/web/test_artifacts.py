"""Artifacts of programs: announced at once, shown without a token, and never in this server's origin."""

from __future__ import annotations

import asyncio
import re
import time

from coderunner.client.rest import Rest, ask
from coderunner.schema import messages as m
from tests.harness import attach, running_server, session, start_server, wait_ready

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
MAKE = (
    "import os,sys\n"
    "def make(path, data):\n"
    "    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)\n"
    "    with open(path, 'wb') as file: file.write(data)\n"
)


FRAMED = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate"}


def made(client) -> dict[str, m.Artifact]:
    return {one.path: one for one in client.messages if isinstance(one, m.Artifact)}


def revisions(client) -> list[int]:
    return [one.revision for one in client.messages if isinstance(one, m.Workspace)]


class TestWorkspace:
    async def test_what_a_program_writes_is_told_while_it_runs(self, server):
        code = "import sys\nfor line in sys.stdin: open(line.strip(), 'w').close()"
        async with session(server) as client:
            rest = Rest(server.url, client.opened)
            await client.run(1, code)
            await client.wait(lambda: revisions(client))
            for number in range(3):
                before = revisions(client)[-1]
                await client.input(1, f"new{number}\n".encode())
                await client.wait(lambda before=before: revisions(client)[-1] > before, 2)
                assert f"new{number}" in await rest.paths()
            assert revisions(client) == sorted(set(revisions(client)))

    async def test_a_flood_of_changes_is_a_few_messages(self, server):
        code = (
            "import time,os\nend = time.time() + 2\n"
            "while time.time() < end: open('f%d' % (time.time_ns() % 50), 'w').close()"
        )
        async with session(server) as client:
            channel = await client.result(1, code)
            assert channel.exit.code == 0
            assert 3 <= len(revisions(client)) <= 14  # at most four a second, over two, and at its ends

    async def test_a_change_by_another_client_is_told(self, server):
        async with session(server) as client:
            rest = Rest(server.url, client.opened)
            await rest("PUT", "/files/a", b"1")
            await client.wait(lambda: revisions(client), 2)
            async with attach(server, client.opened, role="watch") as other:
                assert (await other.message(m.Workspace)).revision == revisions(client)[-1]
                await rest("DELETE", "/files/a")
                await other.wait(lambda: revisions(other), 2)


class TestArtifacts:
    async def test_what_is_made_is_told_before_the_end_and_can_be_seen(self, server):
        code = MAKE + f"make('plot.png', {PNG!r}); make('a/ü b.csv', b'x,y'); make('notes.txt', b'no')"
        async with session(server) as client:
            channel = await client.result(1, code)
            assert channel.exit.code == 0
            exit_at = client.messages.index(channel.exit)
            assert all(client.messages.index(one) < exit_at for one in made(client).values())
            assert set(made(client)) == {"plot.png", "a/ü b.csv"}
            plot = made(client)["plot.png"]
            assert (plot.channel, plot.mime, plot.size) == (1, "image/png", len(PNG))
            shown = await ask(server.url + plot.url)
            assert (shown.status, shown.body, shown.headers["Content-Type"]) == (200, PNG, "image/png")
            table = await ask(server.url + made(client)["a/ü b.csv"].url)
            assert (table.body, table.headers["Content-Type"]) == (b"x,y", "text/csv; charset=utf-8")

    async def test_one_that_changes_is_told_again_while_the_program_runs(self, server):
        code = MAKE + "for n, line in enumerate(sys.stdin): make('.pictures/figure-1.png', bytes(n + 1))"
        async with session(server) as client:
            await client.run(1, code)
            for number in range(3):
                await client.input(1, b"\n")
                await client.wait(
                    lambda number=number: (
                        ".pictures/figure-1.png" in made(client)
                        and made(client)[".pictures/figure-1.png"].size == number + 1
                    ),
                    5,
                    "the picture",
                )

    async def test_what_a_user_writes_or_a_shell_makes_is_none(self, server):
        async with session(server, "bash") as client:
            rest = Rest(server.url, client.opened)
            await client.send(m.Shell(1, 80, 24))
            await client.input(1, b"echo 1 > shell.png; echo done$((1+1))\n")
            await client.until(1, "done2")
            await client.send(m.Run(2, "pipe", files=(m.File("main.sh", b"read x; echo 2 > mine.png"),
                                                      m.File("given.png", b"3"))))  # fmt: skip
            await client.wait(lambda: client.channel(2).states)
            await rest("PUT", "/files/put.png", b"4")
            await client.wait(lambda: revisions(client))
            await client.input(2, b"\n")
            await client.ended(2)
            assert list(made(client)) == ["mine.png"]
            assert made(client)["mine.png"].channel == 2

    async def test_there_is_a_bound_and_a_notice(self, server):
        code = MAKE + "for n in range(100): make(f'{n:03}.svg', b'<svg/>')"
        async with session(server) as client:
            await client.result(1, code)
            assert len(made(client)) == 64
            assert [one.code for one in client.messages if isinstance(one, m.Notice)] == ["artifact_limit"]

    async def test_a_new_page_sees_them_also_after_a_restart_of_the_server(self, tmp_path):
        with running_server(tmp_path, LANGUAGES="python") as server:
            async with session(server, keep=True) as client:
                await client.result(1, MAKE + f"make('plot.png', {PNG!r})")
                await client.wait(lambda: made(client))
                before, revision = made(client), revisions(client)[-1]
                async with attach(server, client.opened, role="watch") as page:
                    await page.wait(lambda: set(made(page)) == set(before))
                opened = client.opened
            server.process.kill()
            server.process.wait()
            again = start_server({**server.environment}, server.log)
            server.process, server.url = again.process, again.url
            wait_ready(server, ("python",))
            async with attach(server, opened) as page:
                await page.wait(lambda: set(made(page)) == set(before))
                await page.wait(lambda: revisions(page) and revisions(page)[-1] >= revision)
                assert (await ask(server.url + before["plot.png"].url)).body == PNG
                await page.send(m.Close())
                await page.closed()


class TestView:
    async def test_a_page_has_no_origin_and_reaches_only_its_own_files(self, server):
        code = MAKE + "make('out/page.html', b'<p>hi'); make('out/a.js', b'1'); make('x.svg', b'<svg/>')"
        async with session(server) as client:
            await client.result(1, code)
            url = server.url + made(client)["out/page.html"].url
            page = await ask(url, headers=FRAMED)
            assert (page.status, page.body) == (200, b"<p>hi")
            assert page.headers["Content-Type"] == "text/html; charset=utf-8"
            own = [url.removeprefix("http://").removesuffix("page.html")]  # its folder
            image = await ask(server.url + made(client)["x.svg"].url, headers=FRAMED)
            for answer, wanted in ((page, own), (image, [])):
                rules = dict(
                    rule.strip().partition(" ")[::2]
                    for rule in answer.headers["Content-Security-Policy"].split(";")
                )
                assert rules["sandbox"] == "allow-scripts"
                assert rules["default-src"] == "'none'"
                for name in ("script-src", "connect-src", "img-src", "style-src"):
                    addresses = [word for word in rules[name].split() if "/" in word or "." in word]
                    assert addresses == wanted, name
                    assert "'self'" not in rules[name]
                    assert "*" not in rules[name]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Referrer-Policy"] == "no-referrer"
            script = await ask(url.replace("page.html", "a.js"))
            assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"

    async def test_a_page_loads_what_lies_beside_it_and_is_for_pages(self, server):
        beside = ("a.js", "deep/a.json", "a.xml", "a.htm.bin", "photo.PNG")
        others = ("a.py", "a", "a.xhtml", "a.mhtml", "a.sh")
        others += (".secret.json", ".git/config.txt", "deep/.env.json")
        code = MAKE + f"for one in {beside + others}: make('out/' + one, b'<script>1</script>')\n"
        code += "make('above.json', b'1'); make('outer/a.json', b'1'); make('out/page.html', b'1')"
        async with session(server) as client:
            await client.result(1, code)
            url = server.url + made(client)["out/page.html"].url
            for name in beside:
                answer = await ask(url.replace("page.html", name))
                assert (answer.status, answer.body) == (200, b"<script>1</script>"), name
                assert "sandbox" in answer.headers["Content-Security-Policy"]
                if name.endswith((".xml", ".bin")):
                    assert answer.headers["Content-Type"] == "application/octet-stream"
                    assert answer.headers["Content-Disposition"] == "attachment"
            for name in others:
                assert (await ask(url.replace("page.html", name))).code == "404 no_session", name
            for name in ("above.json", "outer/a.json", "out"):
                assert (await ask(url.replace("out/page.html", name))).status == 404, name

    async def test_what_is_no_page_opens_itself_alone(self, server):
        code = MAKE + "for one in ('x.png', 'x.svg', 'x.csv', 'x.pdf', 'y.png'): make(one, b'1')"
        async with session(server) as client:
            await client.result(1, code)
            urls = {path: one.url for path, one in made(client).items()}
            for path, url in urls.items():
                for other in {*urls, "main.py"} - {path}:
                    answer = await ask(server.url + url.rpartition("/")[0] + "/" + other)
                    assert answer.code == "404 no_session", (path, other)

    async def test_at_the_top_of_a_tab_a_page_is_always_in_a_frame(self, server):
        async with session(server) as client:
            await client.result(1, MAKE + "make('x.html', b'RAW'); make('x.svg', b'RAW')")
            rest = Rest(server.url, client.opened)
            kept = await rest("POST", "/views", document={"urls": [], "frame": True})
            word = kept.document["word"]
            for path in ("x.html", "x.svg"):
                url = server.url + made(client)[path].url
                navigates = "text/html,application/xhtml+xml,*/*;q=0.8"
                for query, headers in (
                    ("", {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}),
                    ("", {"Sec-Fetch-Dest": "document"}), ("", {"Sec-Fetch-Dest": "frame,iframe"}),
                    ("", {"Accept": navigates}), ("", {}), ("?framed", {"Accept": navigates}),
                    ("?framed=x", {"Accept": navigates}),
                    (f"?framed={word}", {"Sec-Fetch-Dest": "document", "Accept": navigates}),
                ):  # fmt: skip
                    answer = await ask(url + query, headers=headers)
                    assert b"RAW" not in answer.body, (query, headers)
                    assert b'<iframe title="' + path.encode() + b'" sandbox="allow-scripts"' in answer.body
                    assert "frame-src " in answer.headers["Content-Security-Policy"]
                # Its own frame gets it: by what a browser says, or by the word, once.
                inner = url + re.search(rb'src="([^"]*)"', answer.body)[1].decode()
                first, second = [await ask(inner, headers={"Accept": navigates}) for _ in range(2)]
                assert first.body == b"RAW"
                assert first.headers["Content-Security-Policy"].startswith("sandbox allow-scripts;")
                assert first.headers["Connection-Allowlist"] == "(response-origin)"
                assert b"RAW" not in second.body
                assert (await ask(url, headers=FRAMED)).body == b"RAW"
                # So does what reads it, or shows it as an image.
                for headers in ({"Accept": "image/avif,image/webp,*/*"}, {"Accept": "*/*"},
                                {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors"}):  # fmt: skip
                    assert (await ask(url, headers=headers)).body == b"RAW"

    async def test_an_address_ends_unless_it_is_kept(self, tmp_path):
        with running_server(tmp_path, LANGUAGES="python", VIEW_TTL="2000") as server:
            async with session(server) as client:
                await client.result(1, MAKE + "make('x.png', b'1'); make('y.png', b'1')")
                assert (await client.message(m.Hello)).limits["view_ms"] == 2000
                kept, left = (made(client)[path].url for path in ("x.png", "y.png"))
                rest = Rest(server.url, client.opened)
                until = time.monotonic() + 6
                while (await ask(server.url + left)).status == 200:
                    assert time.monotonic() < until
                    assert (await rest("POST", "/views", document={"urls": [kept]})).document == {
                        "kept": [True], "ms": 2000
                    }  # fmt: skip
                    await asyncio.sleep(0.1)
                assert (await ask(server.url + left)).code == "404 no_session"
                assert (await ask(server.url + kept)).status == 200
                # Who comes now gets one that is good; who has the token can have the old one be so again.
                async with attach(server, client.opened, role="watch") as page:
                    await page.wait(lambda: len(made(page)) == 2)
                    assert (await ask(server.url + made(page)["y.png"].url)).status == 200
                forged = kept.replace("/view", "").replace("x.png", "y.png")
                answer = await rest("POST", "/views", document={"urls": [left, forged, "x"]})
                assert answer.document["kept"] == [True, False, False]
                assert (await ask(server.url + left)).status == 200
                for urls in (None, "x", [1], ["x"] * 65, {}):
                    answer = await rest("POST", "/views", document={"urls": urls})
                    assert answer.code == "400 bad_message"
                rest.token = "guessed"
                assert (await rest("POST", "/views", document={"urls": []})).code == "404 no_session"

    async def test_behind_a_proxy_the_policy_names_the_path_it_is_mounted_below(self, tmp_path):
        with running_server(tmp_path, TRUSTED_PROXIES="127.0.0.1", LANGUAGES="python") as server:
            async with session(server) as client:
                await client.result(1, MAKE + "make('x.html', b'1')")
                url = made(client)["x.html"].url
                for header, wanted in (
                    (f"/code/{url}", "/code/view/"), ("/a b;script-src */" + url, None), ("//", None)
                ):  # fmt: skip
                    headers = {"X-Original-URI": header, "Sec-Fetch-Dest": "iframe"}
                    policy = (await ask(server.url + url, headers=headers)).headers["Content-Security-Policy"]
                    host = server.url.removeprefix("http://").rstrip("/")
                    assert f" {host}{wanted or '/view/'}" in policy
                    assert "*" not in policy

    async def test_a_wrong_address_is_no_session_whatever_is_wrong(self, server):
        async with session(server) as client, session(server) as other:
            await client.result(1, MAKE + "make('x.png', b'1')")
            await other.result(1, MAKE + "make('x.png', b'1')")
            view, name, leave, path = made(client)["x.png"].url.split("/")
            theirs = made(other)["x.png"].url.split("/")[2]
            answers = set()
            for parts in (
                (view, name, theirs, path), (view, name, "x" * 32, path), (view, "none-1", leave, path),
                (view, name, leave + "x", path), (view, name, leave[:-1], path),
                (view, name, client.opened.token, path), (view, name, theirs, "nothing.png"),
            ):  # fmt: skip
                answer = await ask(server.url + "/".join(parts))
                answers.add((answer.status, answer.body))
            assert len(answers) == 1
            assert next(iter(answers))[0] == 404
            ended = server.url + "/".join((view, name, leave, path))
            assert (await ask(ended)).status == 200
        assert (await ask(ended)).code == "404 no_session"

    async def test_a_link_that_a_program_puts_in_its_place_is_not_followed(self, server):
        async with session(server) as client:
            await client.result(1, MAKE + "make('x.png', b'1')")
            url = server.url + made(client)["x.png"].url
            await client.result(2, "import os; os.unlink('x.png'); os.symlink('/etc/passwd', 'x.png')")
            assert (await ask(url)).code == "400 bad_path"
