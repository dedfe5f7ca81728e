"""Projects of several files, where the compiled languages have rules of their own."""

from __future__ import annotations

import pytest

from coderunner.schema import messages as m
from tests.harness import Channel, Client, Server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


async def result(client: Client, files: dict[str, str], entry: str, number: int = 1) -> Channel:
    given = tuple(m.File(path, text.encode()) for path, text in files.items())
    await client.send(m.Run(number, "pipe", files=given, entry=entry))
    return await client.ended(number, 120)


def java(name: str, *, main: bool, says: str = "", head: str = "") -> str:
    body = f'public static void main(String[] args) {{ System.out.println("{says}"); }}' if main else ""
    return f"{head}class {name} {{ {body} }}\n"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param(
            {"Main.java": java("First", main=True, says="first") + java("Main", main=True, says="named")},
            "named", id="named like the file",
        ),
        pytest.param(
            {"Main.java": java("None", main=False) + java("Some", main=True, says="some")},
            "some", id="the one that has main",
        ),
        pytest.param(
            {"Main.java": '// class X\nclass A { String s = "class Y {"; }\n' + java("B", main=True)},
            "", id="comments and texts declare nothing",
        ),
        pytest.param(
            {"Main.java": java("Helper", main=False), "app/Start.java": java("Start", main=True, says="found",
             head="package app; public ")},
            "found", id="the only one of all",
        ),
        pytest.param(
            {"Main.java": java("Base", main=True, says="inherited") + "class Main extends Base {}"},
            "inherited", id="inherited",
        ),
    ],
)  # fmt: skip
async def test_java_finds_its_main_class(compiled: Server, files: dict[str, str], says: str) -> None:
    async with session(compiled, "java") as client:
        channel = await result(client, files, "Main.java")
        assert (channel.exit.code, channel.text) == (0, says + "\n")


async def test_a_public_class_in_a_file_of_another_name_runs(compiled: Server) -> None:
    text = 'public class Other { public static void main(String[] a) { System.out.println("ok"); } }\n'
    async with session(compiled, "java") as client:
        channel = await result(client, {"Main.java": text}, "Main.java")
        assert (channel.text, channel.exit.code) == ("ok\n", 0)


async def test_java_without_main_is_told_so_by_java(compiled: Server) -> None:
    async with session(compiled, "java") as client:
        channel = await result(client, {"Main.java": "class Main {}\n"}, "Main.java")
        assert (channel.exit.reason, channel.exit.code) == ("exited", 1)
        assert "Main method not found in class Main" in channel.text


_JAR = r"""
import java.nio.file.*;
import java.util.spi.ToolProvider;
class Main {
    static void tool(String name, String... words) {
        int code = ToolProvider.findFirst(name).orElseThrow().run(System.out, System.out, words);
        if (code != 0) throw new Error(name);
    }
    public static void main(String[] args) throws Exception {
        Path source = Path.of("/tmp/Word.java");
        String text = "public String text() { return \"in the jar\"; }";
        Files.writeString(source, "package own; public class Word { " + text + " }");
        Files.createDirectories(Path.of("lib"));
        tool("javac", "-d", "/tmp/made", source.toString());
        tool("jar", "--create", "--file", "lib/own words.jar", "-C", "/tmp/made", ".");
    }
}
"""
_USE = """class Main {
    public static void main(String[] args) { System.out.println(new own.Word().text()); }
}
"""


async def test_jars_of_the_project_are_seen_by_the_warm_compiler_and_the_plain_one(compiled: Server) -> None:
    use = {"Main.java": _USE}
    async with session(compiled, "java") as client:
        made = await result(client, {"Main.java": _JAR}, "Main.java")
        assert (made.exit.code, made.text) == (0, "")
        assert (await result(client, use, "Main.java", 2)).text == "in the jar\n"
        await client.send(m.Shell(3, 80, 24))
        await client.input(3, b"rm .service/javac.sock && echo g''one\n")
        await client.until(3, "gone")
        assert (await result(client, use, "Main.java", 4)).text == "in the jar\n"


async def test_what_a_source_no_longer_makes_is_gone(compiled: Server) -> None:
    async with session(compiled, "java") as client:
        old = java("Main", main=True, says="old") + java("Gone", main=False)
        assert (await result(client, {"Main.java": old}, "Main.java")).text == "old\n"
        body = 'public static void main(String[] a) throws Exception { Class.forName("Gone"); }'
        new = f"class Main {{ {body} }}"
        channel = await result(client, {"Main.java": new}, "Main.java", 2)
        assert "ClassNotFoundException: Gone" in channel.text


async def test_typescript_checks_types_across_files_and_prints_as_tsc(compiled: Server) -> None:
    files = {
        "main.ts": 'import { half } from "./lib/half";\nconsole.log(half("4"));\n',
        "lib/half.ts": "export function half(n: number): number {\n  return n / 2;\n}\n",
    }
    async with session(compiled, "typescript") as client:
        channel = await result(client, files, "main.ts")
        assert (channel.exit.reason, channel.exit.code) == ("compile_failed", 1)
        wrong = "Argument of type 'string' is not assignable to parameter of type 'number'."
        assert channel.text == f"main.ts(2,18): error TS2345: {wrong}\n"
        mended = {**files, "main.ts": files["main.ts"].replace('"4"', "4")}
        assert (await result(client, mended, "main.ts", 2)).text == "2\n"


async def test_typescript_tells_an_errors_place_in_the_source(compiled: Server) -> None:
    source = 'interface Unused {\n  x: number;\n}\n\nthrow new Error("here");\n'
    async with session(compiled, "typescript") as client:
        channel = await result(client, {"main.ts": source}, "main.ts")
        assert channel.exit.code == 1
        assert "/workspace/main.ts:5" in channel.stderr.decode()


async def test_cpp_misses_a_header_that_only_a_precompiled_one_has(compiled: Server) -> None:
    """What is precompiled is never more than what the source includes."""
    source = "#include <iostream>\nint main() { std::vector<std::map<int, int>> v; }\n"
    async with session(compiled, "cpp") as client:
        channel = await result(client, {"main.cpp": source}, "main.cpp")
        assert channel.exit.reason == "compile_failed"
        assert "is defined in header ‘<map>’" in channel.text


@pytest.mark.parametrize("language", ["c", "cpp"])
async def test_the_linkers_words_are_the_usual_ones(compiled: Server, language: str) -> None:
    entry = f"main.{language}"
    async with session(compiled, language) as client:
        channel = await result(client, {entry: "int away(int);\nint main(void) { return away(1); }\n"}, entry)
        assert channel.exit.reason == "compile_failed"
        assert "undefined reference to `away" in channel.text
        assert "collect2: error: ld returned 1 exit status" in channel.text


async def test_macros_before_the_first_header_are_minded(compiled: Server) -> None:
    includes = "#define _GLIBCXX_ASSERTIONS 1\n#include <iostream>\n#include <vector>\n"
    source = includes + "int main() {\n  std::vector<int> v;\n  return v[3];\n}\n"
    async with session(compiled, "cpp") as client:
        channel = await result(client, {"main.cpp": source}, "main.cpp")
        assert (channel.exit.reason, channel.exit.signal) == ("signaled", "ABRT")


@pytest.mark.parametrize("language", ["c", "cpp"])
async def test_valgrind_names_the_line_that_writes_too_far(compiled: Server, language: str) -> None:
    source = b"#include <stdlib.h>\nint main(void) {\n  char *p = (char *)malloc(4);\n  p[4] = 1;\n}\n"
    async with session(compiled, language, files=(m.File("far.c", source),)) as client:
        await client.send(m.Shell(1, 120, 24))
        await client.input(1, b"gcc -g far.c -o far && valgrind ./far\n")
        said = (await client.until(1, "ERROR SUMMARY: ", 60)).text
        assert "Invalid write of size 1" in said
        assert "(far.c:4)" in said


async def test_typescript_and_node_are_newer_than_debians(compiled: Server) -> None:
    """Of the package index, where a build reaches it: TypeScript 5 and Node.js 22."""
    source = """
type Shape = { kind: "circle" | "square" };
function first<const T extends readonly unknown[]>(all: T): T[0] { return all[0]; }
const shape = { kind: "circle" } satisfies Shape;
const word: "a" = first(["a", "b"]);
class Held { [Symbol.dispose]() { console.log("let go"); } }
{ using held = new Held(); console.log(shape.kind, word, held instanceof Held); }
console.log(process.versions.node.split(".")[0], __dirname);
"""
    options = '{"compilerOptions": {"lib": ["esnext"], "target": "es2022"}}'
    wants = {"main.ts": source, "tsconfig.json": options}
    async with session(compiled, "typescript") as client:
        channel = await result(client, wants, "main.ts")
        assert channel.text == "circle a true\nlet go\n22 /workspace/.build/js\n", channel.text


async def test_a_large_program_does_not_end_the_warm_compiler(compiled: Server) -> None:
    each = "c.stream().flatMap(m -> m.entrySet().stream()).map(e -> e.getValue() * x)"
    kept = "collect(Collectors.groupingBy(v -> v % 3, TreeMap::new, Collectors.counting()))"
    body = f"Map<Integer, Long> f(int x) {{ return {each}.{kept}; }}"
    records = "".join(f"record R{n}(List<Map<String, Integer>> c) {{ {body} }}\n" for n in range(600))
    call = 'System.out.println(new R7(List.of(Map.of("a", 3))).f(4));'
    main = f"class Main {{ public static void main(String[] a) {{ {call} }} }}"
    files = {"Main.java": f"import java.util.*;\nimport java.util.stream.*;\n{records}{main}"}
    async with session(compiled, "java") as client:
        await client.send(m.Shell(1, 80, 24))
        await client.input(1, b"ls -i .service/javac.sock > before && echo n''oted\n")
        await client.until(1, "noted")
        channel = await result(client, files, "Main.java", 2)
        assert (channel.exit.code, channel.text) == (0, "{0=1}\n"), channel.text
        await client.input(1, b"ls -i .service/javac.sock | cmp - before && echo the s''ame\n")
        await client.until(1, "the same")
