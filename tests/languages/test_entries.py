"""The program that runs is the one of the chosen entry, in each compiled language, whatever lies beside it."""

from __future__ import annotations

import pytest

from coderunner.schema import messages as m
from tests.harness import Channel, Server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

# Per language: the ending of a source's name, and a whole program that says NAME.
PROGRAMS = {
    "c": (".c", '#include <stdio.h>\nstatic int help(void) { return 0; }\nint main(void) { puts("NAME"); return help(); }\n'),
    "cpp": (".cc", '#include <iostream>\nint help() { return 0; }\nint main() { std::cout << "NAME\\n"; return help(); }\n'),
    "d": (".d", 'import std.stdio;\nvoid main() { writeln("NAME"); }\n'),
    "go": (".go", 'package main\n\nimport "fmt"\n\nfunc help() {}\n\nfunc main() { help(); fmt.Println("NAME") }\n'),
    "csharp": (".cs", 'class NAME { static void Main() { System.Console.WriteLine("NAME"); } }\n'),
    "java": (".java", 'class NAME { public static void main(String[] a) { System.out.println("NAME"); } }\n'),
    "ocaml": (".ml", 'let () = print_endline "NAME"\n'),
    "erlang": (".erl", '-module(NAME).\n-export([main/1]).\nmain(_) -> io:format("NAME~n").\n'),
    "cobol": (".cob", 'identification division.\nprogram-id. NAME.\nprocedure division.\n    display "NAME"\n    stop run.\n'),
    "assembly": (".asm", 'extern puts\nglobal main\nsection .data\ntext: db "NAME", 0\nsection .text\nmain:\n  push rbp\n'
                 "  mov rdi, text\n  call puts\n  pop rbp\n  xor eax, eax\n  ret\n"),
    "pascal": (".pas", "program NAME;\nbegin\n  writeln('NAME');\nend.\n"),
    "nim": (".nim", 'echo "NAME"\n'),
    "rust": (".rs", 'fn main() { println!("NAME"); }\n'),
    "haskell": (".hs", 'main :: IO ()\nmain = putStrLn "NAME"\n'),
    "fortran": (".f90", "program NAME\n  print '(a)', 'NAME'\nend program\n"),
    "ada": (".adb", 'with Ada.Text_IO;\nprocedure NAME is\nbegin\n   Ada.Text_IO.Put_Line ("NAME");\nend NAME;\n'),
    "typescript": (".ts", "function help(x) { return x; }\nconsole.log(help('NAME'));\nexport {};\n"),
}  # fmt: skip


async def run(server: Server, language: str, files: dict[str, str], entry: str, mode: str = "pipe") -> Channel:
    given = tuple(m.File(path, text.encode()) for path, text in files.items())
    async with session(server, language) as client:
        await client.send(m.Run(1, mode, files=given, entry=entry))
        return await client.ended(1, 120)


@pytest.mark.parametrize("language", PROGRAMS)
async def test_two_programs_side_by_side(everything: Server, language: str) -> None:
    end, text = PROGRAMS[language]
    files = {f"{name}{end}": text.replace("NAME", name) for name in ("first", "second")}
    for name in ("first", "second"):
        channel = await run(everything, language, files, f"{name}{end}")
        assert (channel.exit.code, channel.text.splitlines()[-1]) == (0, name), channel.text


async def test_what_is_left_out_is_said_in_one_line(everything: Server) -> None:
    end, text = PROGRAMS["c"]
    channel = await run(everything, "c", {f"{name}.c": text for name in "abc"}, "b.c")
    assert channel.text == "Not part of b.c's program, so left out: a.c, c.c\nNAME\n"


async def test_an_entry_that_is_no_source_runs_nothing(everything: Server) -> None:
    channel = await run(everything, "c", {"main.c": PROGRAMS["c"][1], "notes.txt": "to do"}, "notes.txt")
    assert (channel.exit.reason, channel.exit.code) == ("compile_failed", 1)
    assert channel.text == "notes.txt: not a source; choose a file named *.c to begin with\n"


CASES = {
    "a module named otherwise": ("erlang", {"main.erl": "-module(other).\n-export([main/0]).\nmain() -> io:format(\"ok~n\").\n"}),
    "a module that starts": ("erlang", {"x.erl": "-module(x).\n-export([start/0]).\nstart() -> io:format(\"ok~n\").\n"}),
    "a script": ("erlang", {"x.erl": "#!/usr/bin/env escript\nmain(_) -> io:format(\"ok~n\").\n"}),
    "a start of its own": ("assembly", {"x.asm": "global _start\nsection .data\nt: db \"ok\", 10\nsection .text\n_start:\n"
                           "  mov eax, 1\n  mov edi, 1\n  mov rsi, t\n  mov edx, 3\n  syscall\n  mov eax, 60\n"
                           "  xor edi, edi\n  syscall\n"}),
    "fixed format": ("cobol", {"x.cob": "       IDENTIFICATION DIVISION.\n       PROGRAM-ID. X.\n      * A remark.\n"
                     "       PROCEDURE DIVISION.\n           DISPLAY \"ok\".\n           STOP RUN.\n"}),
    "numbered lines": ("cobol", {"x.cob": "000100 IDENTIFICATION DIVISION.\n000200 PROGRAM-ID. X.\n"
                       "000300 PROCEDURE DIVISION.\n000400     DISPLAY \"ok\".\n000500     STOP RUN.\n"}),
    "both formats": ("cobol", {"x.cob": "identification division.\nprogram-id. x.\nprocedure division.\ncall \"y\"\nstop run.\n",
                     "y.cob": "       IDENTIFICATION DIVISION.\n       PROGRAM-ID. y.\n       PROCEDURE DIVISION.\n"
                     "           DISPLAY \"ok\".\n           GOBACK.\n"}),
    "big numbers and XML": ("csharp", {"x.cs": "using System.Numerics; using System.Xml.Linq; class A { static void Main() {\n"
                            "System.Console.WriteLine(new XElement(BigInteger.Pow(2, 70) > 0 ? \"ok\" : \"no\").Name); } }\n"}),
    "libraries of the compiler": ("ocaml", {"x.ml": "let _ = Str.regexp \"a\" and t = Unix.time ()\n"
                                  "let () = Thread.join (Thread.create (fun () -> print_endline (if t > 0. then \"ok\" else \"no\")) ())\n"}),
    "threads": ("nim", {"x.nim": "var t: Thread[void]\nproc f() {.thread.} = echo \"ok\"\ncreateThread(t, f)\njoinThread(t)\n"}),
    "parallel loops": ("c", {"x.c": "#include <stdio.h>\n#include <omp.h>\nint main(void) {\n  int n = 0;\n"
                       "#pragma omp parallel for reduction(+:n)\n  for (int i = 0; i < 4; i++) n += i;\n"
                       "  puts(n == 6 && omp_get_max_threads() > 0 ? \"ok\" : \"no\"); }\n"}),
    "parallel loops in C++": ("cpp", {"x.cpp": "#include <cstdio>\nint main() {\n  int n = 0;\n"
                              "#pragma omp parallel for reduction(+:n)\n  for (int i = 0; i < 4; i++) n += i;\n"
                              "  puts(n == 6 ? \"ok\" : \"no\"); }\n"}),
    "a name in capitals": ("cpp", {"prog.C": "#include <cmath>\n#include <cstdio>\nint main() { puts(M_PI > 3 ? \"ok\" : \"no\"); }\n"}),
    "a name with pluses": ("cpp", {"prog.c++": "#include <cstdio>\nint main() { puts(\"ok\"); }\n"}),
    "parameters without types": ("typescript", {"x.ts": "function f(x) { return x; }\nconsole.log(f('ok'));\n"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_programs_that_others_run(everything: Server, case: str) -> None:
    language, files = CASES[case]
    channel = await run(everything, language, files, next(iter(files)))
    assert (channel.exit.code, channel.text.splitlines()[-1:]) == (0, ["ok"]), channel.text


async def test_sanitizers_are_a_wish_of_the_run(everything: Server) -> None:
    text = "#include <stdlib.h>\nint main(void) { char *p = malloc(1); free(p); return p[0]; }\n"
    async with session(everything, "c") as client:
        file = m.File("x.c", text.encode())
        await client.send(m.Run(1, "pipe", files=(file,), entry="x.c", env={"SANITIZE": "address"}))
        channel = await client.ended(1, 120)
        assert "AddressSanitizer: heap-use-after-free" in channel.text
        await client.send(m.Run(2, "pipe", entry="x.c", env={"SANITIZE": "memory"}))
        channel = await client.ended(2, 120)
        assert channel.exit.reason == "compile_failed"
        assert "write address, undefined, or address,undefined" in channel.text


@pytest.mark.parametrize("language", ["c", "cpp"])
async def test_a_double_free_is_told(everything: Server, language: str) -> None:
    text = "#include <stdlib.h>\nint main(void) { char *p = (char *)malloc(9); free(p); free(p); return 0; }\n"
    channel = await run(everything, language, {f"x.{language}": text}, f"x.{language}")
    assert (channel.exit.reason, channel.exit.signal) == ("signaled", "ABRT")
    assert "double free" in channel.text
