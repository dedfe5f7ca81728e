from __future__ import annotations

import pytest

from coderunner import declarations
from coderunner.core.languages import parse_language
from coderunner.errors import ConfigError
from coderunner.schema.languages import Preload, Repl, Service, Variant, Warm, sample_files

WHOLE = """
name = "demo"
title = "Demo"
version = "1.2"
editor = "demo"
entry = "main.demo"
extensions = [".demo", ".d++"]
sources = ["*.demo"]
indent = 2
runtime = "runsc"
compile = ["democ", "-o", "{build}/main", "{sources}"]
run = ["{build}/main", "--entry={entry}", "{args}"]
shell = ["bash"]
[[variants]]
when = "Demofile"
compile = ["demomake"]
run = ["demorun", "{args}"]
[[variants]]
when = "sub/demo.toml"
run = ["demostart", "{entry}"]
[env]
A = "1"
[limits]
pids = 64
cpus = 2
[warm]
floor = 1
ceiling = 8
[service]
command = ["demod", "--listen={}"]
ready = "/workspace/.service/demod.sock"
start_ms = 3000
env = {B = "2"}
[preload]
command = ["demohost"]
entries = ["*.demo"]
fixed = ["DEMO*"]
[repl]
command = ["demo", "-i"]
load = ["demo", "-i", "{entry}"]
prompt = "demo> "
ask = "6*7"
answer = "42"
[[samples]]
name = "hello"
title = "Hello"
entry = "main.demo"
files = ["main.demo", "lib/x.demo"]
args = ["a"]
stdin = "b"
expect_stdout = "c"
expect_code = 3
"""


def problems_of(text: str, folder: str = "demo") -> str:
    with pytest.raises(ConfigError) as caught:
        parse_language(text, folder)
    assert all(p.startswith(f"languages/{folder}/language.toml") for p in caught.value.problems)
    return "\n".join(caught.value.problems)


def test_the_whole():
    language = parse_language(WHOLE, "demo")
    assert language.name == "demo"
    assert language.compile == ("democ", "-o", "{build}/main", "{sources}")
    assert language.run == ("{build}/main", "--entry={entry}", "{args}")
    assert language.variants == (
        Variant("Demofile", ("demomake",), ("demorun", "{args}")),
        Variant("sub/demo.toml", None, ("demostart", "{entry}")),
    )
    assert language.limits == {"pids": 64, "cpus": 2.0}
    assert language.warm == Warm(1, 8)
    assert language.preload == Preload(("demohost",), ("*.demo",), fixed=("DEMO*",), start_ms=10_000)
    ready = "/workspace/.service/demod.sock"
    assert language.service == Service(("demod", "--listen={}"), ready, {"B": "2"}, 3000)
    assert language.repl == Repl(("demo", "-i"), "demo> ", "6*7", "42", ("demo", "-i", "{entry}"))
    assert (language.indent, language.runtime, language.env) == (2, "runsc", {"A": "1"})
    [sample] = language.samples
    assert (sample.args, sample.stdin, sample.expect_stdout, sample.expect_code) == (("a",), "b", "c", 3)
    assert sample_files(sample, lambda path: path.encode()) == {
        "main.demo": b"samples/hello/main.demo",
        "lib/x.demo": b"samples/hello/lib/x.demo",
    }


def test_the_least():
    language = parse_language(
        'name="x"\ntitle="X"\neditor="x"\nentry="m.x"\nextensions=[".x"]\nrun=["x"]\nshell=["sh"]', "x"
    )
    assert language.compile is None
    assert language.preload is None
    assert language.service is None
    assert language.repl is None
    assert language.runtime is None
    assert (language.samples, language.warm, language.limits) == ((), Warm(), {})
    assert language.variants == ()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name = "demo"', 'name = "other"', "must be the folder's: demo"),
        ('name = "demo"', 'name = "De mo"', "small letters"),
        ('title = "Demo"', "", "title is missing"),
        ('title = "Demo"', "title = 5", "title must be a text"),
        ('title = "Demo"', 'title = "Demo"\ntitel = "x"', "titel is not known"),
        ('entry = "main.demo"', 'entry = "../x"', "entry the path"),
        ('[".demo", ".d++"]', '["demo"]', "write them like .py"),
        ('[".demo", ".d++"]', "[]", "at least one"),
        ("indent = 2", "indent = 0", "whole number from 1 to 16"),
        ('"{sources}"]', '"x{sources}"]', "{sources} as an element of its own"),
        ('"{args}"]', '"-{args}"]', "{args} as an element of its own"),
        ('"{args}"]', '"{arg}"]', "unknown placeholder {arg}"),
        ('sources = ["*.demo"]', "", "sources must name patterns"),
        ('shell = ["bash"]', "shell = []", "must name a program"),
        ('shell = ["bash"]', 'shell = "bash"', "must be a list of texts"),
        ('shell = ["bash"]', 'shell = ["bash", ""]', "empty element"),
        ('when = "Demofile"', 'when = "../Demofile"', "[[variants]] 1: when the path"),
        ('when = "Demofile"', "", "[[variants]] 1: when is missing"),
        ('when = "Demofile"', 'wenn = "Demofile"', "wenn is not known"),
        ('when = "Demofile"', 'when = "sub/demo.toml"', "two variants are for sub/demo.toml"),
        ('run = ["demostart", "{entry}"]', "", "[[variants]] 2: run is missing"),
        ('"demostart", "{entry}"', '"demostart", "{main}"', "unknown placeholder {main}"),
        ('[[variants]]\nwhen = "Demofile"', '[variants]\nwhen = "Demofile"', "language.toml"),
        ('A = "1"', "A = 1", "bad entry 'A'"),
        ('A = "1"', '"A-B" = "1"', "bad entry 'A-B'"),
        ("pids = 64", "pids = -1", "pids must be"),
        ("floor = 1", "floor = 9", "above the ceiling"),
        ("floor = 1", "floor = 1.5", "whole number"),
        ('command = ["demod", "--listen={}"]', "command = []", "[service]: command must name a program"),
        ('command = ["demod", "--listen={}"]', "", "[service]: command is missing"),
        ('command = ["demod", "--listen={}"]', 'command = ["a\\u0000"]', "has a NUL"),
        ('/demod.sock"', '/../x"', "must be a path below /workspace/.service/"),
        ('"/workspace/.service/demod.sock"', '"/tmp/x"', "must be a path below /workspace/.service/"),
        ("start_ms = 3000", "start_ms = 99", "start_ms must be a whole number from 100"),
        ('{B = "2"}', "{B = 2}", "[service]: env has a bad entry 'B'"),
        ('entries = ["*.demo"]', "entries = []", "[preload]: entries must name at least one pattern"),
        ('entries = ["*.demo"]', "", "[preload]: entries is missing"),
        ('command = ["demohost"]', "", "[preload]: command is missing"),
        ('fixed = ["DEMO*"]', "fixed = 1", "[preload]: fixed must be a list"),
        ('fixed = ["DEMO*"]', 'ready = "/x"', "[preload]: ready is not known"),
        ('command = ["demo", "-i"]', "command = []", "[repl]: command must name a program"),
        ('load = ["demo", "-i", "{entry}"]', 'load = ["{file}"]', "[repl]: load has an unknown placeholder"),
        ('prompt = "demo> "', "", "[repl]: prompt is missing"),
        ('ask = "6*7"', 'ask = ""', "[repl]: ask is empty"),
        ('answer = "42"', 'answer = "7"', "[repl]: answer must not stand in ask"),
        ("start_ms = 3000", "restart = true", "restart is not known"),
        ('name = "hello"', 'name = "../hello"', "small letters"),
        ('files = ["main.demo", "lib/x.demo"]', 'files = ["lib/x.demo"]', "must be one of the files"),
        ('files = ["main.demo", "lib/x.demo"]', 'files = ["/main.demo"]', "is absolute"),
        ("expect_code = 3", "expect_code = 300", "whole number from 0 to 255"),
        ("[warm]", "[warm", "language.toml"),
        ("[[samples]]", "[samples]", "[[samples]]"),
    ],
)
def test_a_wrong_file_is_refused_with_its_reason(old, new, problem):
    assert old in WHOLE
    assert problem in problems_of(WHOLE.replace(old, new, 1))


def test_two_samples_of_one_name():
    sample = WHOLE[WHOLE.index("[[samples]]") :]
    assert "two samples are named hello" in problems_of(WHOLE + sample)


def test_all_problems_are_told_at_once():
    problems = problems_of(WHOLE.replace('title = "Demo"', "").replace("pids = 64", "pids = 0"))
    assert "title" in problems
    assert "pids" in problems


NONSENSE = ["", "name = 5", "x = 1979-05-27", "samples = 1\nenv = 2\nwarm = 3\nlimits = 4"]


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_a_list_of_problems(text):
    assert problems_of(text)


# --- the catalogue ------------------------------------------------------------------------------------


def folder_with(tmp_path, **languages):
    (tmp_path / "limits.toml").write_text((declarations.FOLDER / "limits.toml").read_text())
    for name, text in languages.items():
        (tmp_path / name / "samples" / "hello" / "lib").mkdir(parents=True)
        (tmp_path / name / "language.toml").write_text(text)
        for path in ("main.demo", "lib/x.demo"):
            (tmp_path / name / "samples" / "hello" / path).write_text(path)
    return tmp_path


def test_a_folder_of_languages(tmp_path):
    found = declarations.load(folder_with(tmp_path, demo=WHOLE, also=WHOLE.replace('"demo"', '"also"', 1)))
    assert list(found.languages) == ["also", "demo"]
    assert found.samples(found.languages["demo"]) == {
        "hello": {"main.demo": b"main.demo", "lib/x.demo": b"lib/x.demo"}
    }


def test_only_some(tmp_path):
    folder = folder_with(tmp_path, demo=WHOLE, broken="name = 1")
    assert list(declarations.load(folder, ["demo"]).languages) == ["demo"]
    with pytest.raises(ConfigError, match="there is no language ruby; there are broken, demo"):
        declarations.load(folder, ["demo", "ruby"])


def test_a_missing_sample_and_a_broken_file_are_told_together(tmp_path):
    folder = folder_with(tmp_path, demo=WHOLE, broken="name = 1")
    (folder / "demo" / "samples" / "hello" / "main.demo").unlink()
    with pytest.raises(ConfigError) as caught:
        declarations.load(folder)
    assert "languages/demo: samples/hello/main.demo is missing" in caught.value.problems
    assert any(problem.startswith("languages/broken/") for problem in caught.value.problems)


def test_the_languages_that_come_with_the_server_are_sound():
    found = declarations.load()
    assert found.rules.defaults.pids > 0
    for name, language in found.languages.items():
        assert language.name == name
        assert found.samples(language).keys() == {sample.name for sample in language.samples}
