"""Which sources belong to the program that begins with the entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from coderunner.agent.sources import program
from coderunner.core.languages import parse_language
from coderunner.declarations import FOLDER

MAIN = "int main(void) { return 0; }\n"


def declared(name: str) -> tuple[list[str], str, list[str]]:
    language = parse_language((FOLDER / name / "language.toml").read_text("utf-8"), name)
    return list(language.sources), language.main, list(language.extensions)


def chosen(folder: Path, entry: str, files: dict[str, str], name: str = "c") -> tuple[list[str], list[str]]:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    patterns, main, parts = declared(name)
    return program(str(folder), entry, patterns, main, parts)


MAINS = {
    "c": [
        "int main() {}", "main(argc, argv)\nint argc; char **argv;\n{ }",
        "int main(int argc, char *(argv[]))\n{}",
        "void main(void)\r\n{\r\n}",
    ],
    "cpp": ["int main() {}", "auto main() -> int {}", "int main() noexcept {}",
            "int main(int, char**) try {} catch (...) {}"],
    "d": ["void main() {}", "int main(string[] args) @safe { return 0; }", "void main() => f();"],
    "go": ["package main\nfunc main() {}", "package main\nfunc main () {\n}"],
    "csharp": ["class A { static void Main() {} }",
               "class A { public static async Task<int> Main(string[] a) {} }"],
    "assembly": ["main:\n", "  _start: mov rax, 60\n", "global _start\n_start:\n"],
    "cobol": ["       PROCEDURE DIVISION.\n           STOP RUN."],
}  # fmt: skip
NO_MAINS = {
    "c": [
        "int domain() {}", "// int main() {}\n", "/* int main() {} */", 'char *s = "int main() {";',
        "int main(void);", "if (main()) { }", "#if 0\nint main() {}\n#endif\n",
        "#ifdef TEST\nint main() {}\n#endif\n",
        "struct s { int main; };", "x = p->main(1); {",
    ],
    "cpp": ['auto s = R"x(int main() {)x";', "int n = 1'000; void f() {} char c = '\"';",
            "void A::main() {}"],
    "d": ["/+ void main() {} +/", "auto s = `void main() {}`;"],
    "go": ["package main\nfunc mainly() {}", "package main\n// func main() {}\nfunc f() {}"],
    "csharp": ["class A { void Main() {} }", "// static void Main() {}\nclass A {}"],
    "assembly": ["helper:\n  call main\n", "; main:\n"],
    "cobol": ["       PROCEDURE DIVISION USING X.\n           GOBACK."],
}  # fmt: skip
ENDS = {
    "c": ".c",
    "cpp": ".cpp",
    "d": ".d",
    "go": ".go",
    "csharp": ".cs",
    "assembly": ".asm",
    "cobol": ".cob",
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in MAINS.items() for text in texts])
def test_another_program_is_left_out(tmp_path: Path, name: str, text: str) -> None:
    one, two = f"one{ENDS[name]}", f"two{ENDS[name]}"
    assert chosen(tmp_path, one, {one: text, two: text}, name) == ([one], [two])


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in NO_MAINS.items() for text in texts]
)
def test_a_part_of_the_program_is_kept(tmp_path: Path, name: str, text: str) -> None:
    one, two = f"one{ENDS[name]}", f"two{ENDS[name]}"
    assert chosen(tmp_path, one, {one: MAINS[name][0], two: text}, name) == ([one, two], [])


def test_the_folder_of_another_program_is_left_out_with_it(tmp_path: Path) -> None:
    files = {"a/main.c": MAIN, "a/help.c": "", "b/main.c": MAIN, "b/help.c": "", "shared.c": ""}
    assert chosen(tmp_path, "a/main.c", files) == (
        ["a/help.c", "a/main.c", "shared.c"],
        ["b/help.c", "b/main.c"],
    )


def test_a_folder_that_is_named_by_an_include_is_kept(tmp_path: Path) -> None:
    files = {"main.c": '#include "lib/stack.h"\n' + MAIN, "lib/stack.c": "", "lib/try.c": MAIN}
    assert chosen(tmp_path, "main.c", files) == (["lib/stack.c", "main.c"], ["lib/try.c"])


def test_the_folder_above_the_entry_is_kept(tmp_path: Path) -> None:
    files = {"main.c": MAIN, "stack.c": "", "tests/main.c": MAIN}
    assert chosen(tmp_path, "tests/main.c", files) == (["stack.c", "tests/main.c"], ["main.c"])


@pytest.mark.parametrize("entry", ["part.c", "part.h"])
def test_a_part_as_the_entry_begins_the_only_program(tmp_path: Path, entry: str) -> None:
    files = {"main.c": MAIN, "part.c": "", "part.h": ""}
    assert chosen(tmp_path, entry, files) == (["main.c", "part.c"], [])


def test_a_part_as_the_entry_of_several_programs_is_told(tmp_path: Path) -> None:
    told = chosen(tmp_path, "part.c", {"a.c": MAIN, "b.c": MAIN, "part.c": ""})
    assert told == "part.c: it has no main function; choose a file that has one: a.c, b.c"


def test_a_main_function_for_another_system_is_the_entrys_own(tmp_path: Path) -> None:
    text = "#ifdef __linux__\n" + MAIN + "#endif\n"
    assert chosen(tmp_path, "a.c", {"a.c": text, "b.c": MAIN}) == (["a.c"], ["b.c"])


def test_an_entry_that_is_no_source_is_refused(tmp_path: Path) -> None:
    told = chosen(tmp_path, "notes.txt", {"notes.txt": "", "main.c": MAIN})
    assert told == "notes.txt: not a source; choose a file named *.c to begin with"
    assert "there is no such file" in chosen(tmp_path, "gone.c", {})
