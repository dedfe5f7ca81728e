"""The JavaScript package: installed in a folder of its own, its examples, types, and a server's death."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.harness import ROOT, Server, running_server
from tests.web.ordering import COUNT, again, numbers

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

CALL_SECONDS = 120
EXAMPLES = {
    "docs/clients.md": "stdout hello Ada\nexited 0\n",
    "clients/javascript/README.md": "stdout hello Ada\n0\n",
}
FOLLOW = """
import { Client } from 'coderunner-client';

const [url, source] = process.argv.slice(2);
const session = await new Client(url).open({ language: 'python' });
const program = session.run({ entry: 'main.py', files: { 'main.py': source } });
for await (const { text } of program) process.stdout.write(text);
console.log(program.exit.reason, program.exit.code);
session.close();
"""
TERMINAL = """
import { Client } from 'coderunner-client';

const client = new Client(process.env.CODERUNNER);
const session = await client.open({ language: 'bash' });
const source = 'trap "stty size; exit 3" INT; echo ready; while :; do read -r word && echo "<$word>"; done';
const terminal = { cols: 80, rows: 24 };
const program = session.run({ entry: 'main.sh', files: { 'main.sh': source }, terminal });
let seen = '';
let typed = false;
for await (const { text } of program) {
  seen += text;
  if (seen.includes('ready') && !typed) {
    typed = true;
    await program.send('typed\\n');
  }
  if (seen.includes('<typed>')) {
    program.resize(101, 33);
    program.signal('INT');
  }
}
console.log(seen.includes('33 101'), program.exit.code);
await session.files.write('a/b.txt', new Uint8Array([104, 105]));
await session.files.rename('a/b.txt', 'c.txt');
const listed = (await session.files.list()).some(({ path }) => path === 'c.txt');
console.log(await session.files.text('c.txt'), listed);
session.close();
const answer = await client.run({ language: 'python', source: 'print(input()[::-1])', stdin: 'abc' });
console.log(answer.stdout.trim(), answer.exit.code);
const language = 'klingon';
for (const wrong of [() => client.open({ language }), () => client.run({ language, source: '1' })]) {
  console.log(await wrong().catch((error) => `${error.name} ${error.code}`));
}
console.log(await new Client('http://127.0.0.1:1').open({ language: 'python' }).catch((error) => error.code));
"""
GROUP_AND_BATCH = """
import { Client } from 'coderunner-client';

const client = new Client(process.env.CODERUNNER);
const server = `import socket
s = socket.create_server(('', 5000))
print('ready', flush=True)
s.accept()[0].sendall(b'hello')`;
const asks = `import socket
print(socket.create_connection(('one', 5000)).recv(99))`;
const one = await client.open({ language: 'python', group: true, member: 'one' });
const two = await client.open({ language: 'python', group: one.group });
const listening = one.run({ entry: 'main.py', files: { 'main.py': server } });
for await (const { text } of listening) if (text.includes('ready')) break;
const asking = two.run({ entry: 'main.py', files: { 'main.py': asks } });
for await (const { text } of asking) console.log(one.member, text.trim());
one.close();
two.close();
const seen = [];
const cases = [{ stdin: '1', expected: '2' }, { stdin: '2', expected: '5' }];
const request = { language: 'python', source: 'print(2 * int(input()))', cases };
const told = await client.batch(request, ({ index, verdict }) => seen.push(`${index} ${verdict}`));
console.log(seen.join(), told.passed, told.cases.length);
const none = client.batch({ ...request, cases: [] });
console.log(await none.catch((error) => `${error.code} ${error.message}`));
"""
FOLLOW_BATCH = """
import { Client } from 'coderunner-client';

const source = 'import time; time.sleep(0.05); print(input())';
const cases = [...Array(60).keys()].map((number) => ({ stdin: `${number}`, expected: `${number}` }));
const client = new Client(process.argv[2]);
const told = await client.batch({ language: 'python', source, cases }, ({ index }) => console.log(index));
console.log(told.end, told.passed);
"""
TYPED = """
import { Client, type Program } from 'coderunner-client';

const session = await new Client('http://localhost').open({ language: 'python' });
const program: Program = session.run({ entry: 'main.py', terminal: { cols: 80, rows: 24 } });
for await (const { text } of program) text.trim();
const code: number | null | undefined = program.exit?.code;
program.signal('INT');
// @ts-expect-error: there is no such signal
program.signal('NONE');
const batch = { language: 'c', source: '', cases: [] };
const { counts } = await new Client('http://localhost').batch(batch, ({ verdict }) => verdict.trim());
const passed: number | undefined = counts.passed;
session.close(); export { passed }; export { code };
"""


def call(*words: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=CALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it, and with what it names as its dependency."""
    folder = tmp_path_factory.mktemp("javascript")
    call("node", ROOT / "scripts/package-client.mjs", folder, cwd=ROOT)
    [archive] = folder.glob("*.tgz")
    modules = folder / "node_modules"
    with tarfile.open(archive) as opened:
        opened.extractall(modules, filter="data")
    (modules / "package").rename(modules / "coderunner-client")
    (modules / "ws").symlink_to(ROOT / "node_modules/ws")
    return folder


def run(home: Path, name: str, source: str, server: Server) -> str:
    (home / name).write_text(source)
    return call("node", name, cwd=home, environment={"CODERUNNER": server.url})


@pytest.mark.parametrize("document", EXAMPLES)
def test_examples(home: Path, server: Server, document: str) -> None:
    [example] = re.findall(r"^```js\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)
    assert run(home, "example.mjs", example, server) == EXAMPLES[document]


def test_terminals_signals_files_and_refusals(home: Path, server: Server) -> None:
    told = run(home, "terminal.mjs", TERMINAL, server).splitlines()
    assert told == [
        "true 3",
        "hi true",
        "cba 0",
        "Refused unknown_language",
        "Refused unknown_language",
        "unreachable",
    ]


def test_groups_and_batches(home: Path, server: Server) -> None:
    told = run(home, "grouped.mjs", GROUP_AND_BATCH, server).splitlines()
    assert told == [
        "one b'hello'",
        "0 passed,1 wrong_answer 1 2",
        "bad_message cases must be a list of 1 to 10000 cases",
    ]


def test_it_is_typed(home: Path) -> None:
    (home / "typed.mts").write_text(TYPED)
    compiler = ROOT / "node_modules/typescript/bin/tsc"
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"]
    call("node", compiler, *options, "--lib", "es2023,dom,dom.iterable", "typed.mts", cwd=home)


def test_a_batch_survives_the_servers_death(home: Path, tmp_path: Path) -> None:
    with running_server(tmp_path, LANGUAGES="python") as server:
        (home / "batch.mjs").write_text(FOLLOW_BATCH)
        words = ["node", "batch.mjs", server.url]
        with subprocess.Popen(words, cwd=home, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            seen = [client.stdout.readline().strip() for _ in range(10)]
            server.process.kill()
            server.process.wait()
            later = again(server, tmp_path)
            *more, last = client.stdout.read().splitlines()
            assert client.wait(CALL_SECONDS) == 0
        assert sorted(map(int, [*seen, *more])) == list(range(60))  # each once
        assert last == "done 60"
        assert later.stop() == 0


def test_output_survives_the_servers_death(home: Path, tmp_path: Path) -> None:
    with running_server(tmp_path, LANGUAGES="python") as server:
        (home / "follow.mjs").write_text(FOLLOW)
        words = ["node", "follow.mjs", server.url, COUNT.format(n=60, pause=0.05)]
        with subprocess.Popen(words, cwd=home, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            seen = ""
            while "0000010" not in seen:
                line = client.stdout.readline()
                assert line, f"it ended after {seen!r}"
                seen += line
            server.process.kill()
            server.process.wait()
            later = again(server, tmp_path)
            seen += client.stdout.read()
            assert client.wait(CALL_SECONDS) == 0
        assert seen == numbers(60) + "exited 0\n"
        assert later.stop() == 0
