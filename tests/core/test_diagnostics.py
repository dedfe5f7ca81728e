"""Problems in what compilers and programs print: each language's own words, and nobody's tricks."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderunner import declarations
from coderunner.core import diagnostics
from coderunner.core.diagnostics import diagnose, hints, hints_of_end, workspace_path
from coderunner.core.languages import parse_language
from coderunner.errors import ConfigError
from coderunner.schema import check
from coderunner.schema.check import Problems
from coderunner.schema.languages import Hint, Pattern
from coderunner.schema.messages import Diagnostic
from coderunner.schema.templates import parse_template
from coderunner.schema.toml import in_toml
from tests.reference import work_seconds

LANGUAGES = declarations.load().languages

# What the tools of the images printed: (language, text, [path:line:column severity message]).
SEEN = [
    ("python", """Traceback (most recent call last):
  File "/workspace/main.py", line 5, in <module>
    f("{")
  File "/workspace/main.py", line 3, in f
    return json.loads(x)
           ^^^^^^^^^^^^^
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    return _default_decoder.decode(s)
json.decoder.JSONDecodeError: Expecting property name: line 1 column 2 (char 1)

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/workspace/main.py", line 7, in <module>
    raise RuntimeError("outer") from e
RuntimeError: outer
""", ["main.py:3:0 error json.decoder.JSONDecodeError: Expecting property name: line 1 column 2 (char 1)",
      "main.py:7:0 error RuntimeError: outer"]),
    ("python", '''  File "/workspace/lib/a.py", line 1
    def f(:
          ^
SyntaxError: invalid syntax
''', ["lib/a.py:1:0 error SyntaxError: invalid syntax"]),
    ("javascript", """/workspace/main.js:2
  return undefinedName + 1;
  ^

ReferenceError: undefinedName is not defined
    at f (/workspace/main.js:2:3)
    at Object.<anonymous> (/workspace/main.js:4:1)
    at Module._compile (node:internal/modules/cjs/loader:1364:14)
""", ["main.js:2:3 error ReferenceError: undefinedName is not defined"]),
    ("javascript", """/workspace/main.js:1
let x = ;
        ^

SyntaxError: Unexpected token ';'
    at internalCompileFunction (node:internal/vm:76:18)
""", ["main.js:1:0 error SyntaxError: Unexpected token ';'"]),
    ("javascript", """file:///workspace/lib/a.mjs:3
  x.foo();
    ^

TypeError: x.foo is not a function
    at f (file:///workspace/lib/a.mjs:3:5)
    at file:///workspace/main.mjs:2:1
    at ModuleJob.run (node:internal/modules/esm/module_job:345:25)
""", ["lib/a.mjs:3:5 error TypeError: x.foo is not a function"]),
    ("javascript", """file:///workspace/main.js:2
const x = ;
          ^

SyntaxError: Unexpected token ';'
    at compileSourceTextModule (node:internal/modules/esm/utils:346:16)
""", ["main.js:2:0 error SyntaxError: Unexpected token ';'"]),
    ("c", """main.c: In function 'main':
main.c:3:12: error: expected ';' before 'return'
    3 |   int x = 1
      |            ^
shapes/circle.c:1:10: fatal error: nope.h: No such file or directory
main.c:9:5: warning: unused variable 'y' [-Wunused-variable]
main.c:2:1: note: declared here
/usr/include/stdio.h:5:1: error: outside
compilation terminated.
""", ["main.c:3:12 error expected ';' before 'return'",
      "shapes/circle.c:1:10 error nope.h: No such file or directory",
      "main.c:9:5 warning unused variable 'y' [-Wunused-variable]", "main.c:2:1 info declared here"]),
    ("ada", """main.adb:5:26: error: "Undeclared" is undefined
gnatmake: "main.adb" compilation error
""",
     ['main.adb:5:26 error "Undeclared" is undefined']),
    ("fortran", """main.f90:3:21:

    3 |   print *, undeclared
      |                     1
Error: Symbol 'undeclared' at (1) has no IMPLICIT type
""", ["main.f90:3:21 error Symbol 'undeclared' at (1) has no IMPLICIT type"]),
    ("d", "main.d:4:13: error: undefined identifier 'undeclared'\n    4 |     writeln(undeclared);\n",
     ["main.d:4:13 error undefined identifier 'undeclared'"]),
    ("nim", "/workspace/main.nim(1, 6) Error: undeclared identifier: 'undeclared'\n",
     ["main.nim:1:6 error undeclared identifier: 'undeclared'"]),
    ("cobol", "main.cob:4: error: 'undeclared' is not defined\n",
     ["main.cob:4:0 error 'undeclared' is not defined"]),
    ("pascal", """main.pas(4,11) Error: Identifier not found "Undeclared"
main.pas(6) Fatal: There were 1 errors compiling module, stopping
""", ['main.pas:4:11 error Identifier not found "Undeclared"']),
    ("csharp", "Main.cs(5,27): error CS0103: The name `undeclared' does not exist in the current context\n",
     ["Main.cs:5:27 error CS0103: The name `undeclared' does not exist in the current context"]),
    ("cpp", "\x1b[01m\x1b[Kmain.cpp:2:1:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kno\r\n",
     ["main.cpp:2:1 error no"]),
    ("bash", "main.sh: line 1: foo: command not found\n", ["main.sh:1:0 error foo: command not found"]),
    ("go", """# command-line-arguments
./main.go:3:20: undefined: undefinedName
./main.go:3:47: invalid operation: "a" + 1 (mismatched types)
""", ["main.go:3:20 error undefined: undefinedName",
      'main.go:3:47 error invalid operation: "a" + 1 (mismatched types)']),
    ("go", """panic: runtime error: index out of range [5] with length 1

goroutine 1 [running]:
runtime.gopanic()
\t/usr/lib/go-1.19/src/runtime/panic.go:884 +0x212
main.f(...)
\t/workspace/main.go:2
main.main()
\t/workspace/main.go:3 +0x1d
""", ["main.go:2:0 error runtime error: index out of range [5] with length 1"]),
    # One that is not told at the place where its goroutine was begun.
    ("go", """panic: runtime error: index out of range [3] with length 1

goroutine 17 [running]:
main.g(...)
\t/workspace/main.go:3
created by main.main in goroutine 1
\t/workspace/main.go:5 +0x1a
""", ["main.go:3:0 error runtime error: index out of range [3] with length 1"]),
    ("rust", """error[E0425]: cannot find value `y` in this scope
 --> src/main.rs:1:46
  |
warning: unused variable: `unused`
 --> src/main.rs:1:34
error: aborting due to 2 previous errors
""", ["src/main.rs:1:46 error cannot find value `y` in this scope",
      "src/main.rs:1:34 warning unused variable: `unused`"]),
    ("rust", "\nthread 'main' panicked at main.rs:1:61:\nindex out of bounds: the len is 1\nnote: run with\n",
     ["main.rs:1:61 error index out of bounds: the len is 1"]),
    ("ruby", "main.rb:2:in `f': bad thing (ArgumentError)\n\tfrom main.rb:4:in `<main>'\n",
     ["main.rb:2:0 error bad thing (ArgumentError)"]),
    ("ruby", "main.rb:2: syntax error, unexpected integer literal\n  1 +\n  ^\n",
     ["main.rb:2:0 error syntax error, unexpected integer literal"]),
    # Minitest's, which goes to the standard output: in a terminal that is searched, too.
    ("ruby", "  1) Failure:\nT#test_a [main.rb:4]:\nExpected: 1\n  Actual: 2\n",
     ["main.rb:4:0 error Expected: 1"]),
    ("php", """Warning: Undefined variable $undef in /workspace/main.php on line 2
Fatal error: Uncaught Exception: bad in /workspace/main.php:3
Stack trace:
#0 /workspace/main.php(4): f()
""", ["main.php:2:0 warning Undefined variable $undef", "main.php:3:0 error Uncaught Exception: bad"]),
    ("perl", 'syntax error at main.pl line 2, near "+;"\nbad at main.pl line 3.\n',
     ["main.pl:2:0 error syntax error", "main.pl:3:0 error bad"]),
    ("lua", "lua5.4: main.lua:1: unexpected symbol near '='\n",
     ["main.lua:1:0 error unexpected symbol near '='"]),
    ("haskell", """
main.hs:3:13: error: Variable not in scope: foo :: t0 -> String
main.hs:4:5: error:
    • Couldn't match expected type
""", ["main.hs:3:13 error Variable not in scope: foo :: t0 -> String",
      "main.hs:4:5 error Couldn't match expected type"]),
    ("sqlite", "Parse error near line 2: no such table: nope\n", ["main.sql:2:0 error no such table: nope"]),
    ("postgresql", 'psql:main.sql:3: ERROR:  relation "x" does not exist\nLINE 1: select\n',
     ['main.sql:3:0 error relation "x" does not exist']),
    ("java", """Main.java:1: error: cannot find symbol
  y();
  ^
Exception in thread "main" java.lang.IllegalStateException: bad
\tat java.base/java.util.Objects.f(Objects.java:2)
\tat Main.<init>(Main.java:2)
\tat Main.main(Main.java:3)
""", ["Main.java:1:0 error cannot find symbol",
      "Main.java:2:0 error java.lang.IllegalStateException: bad"]),
    ("typescript", "main.ts(1,7): error TS2322: Type 'string' is not assignable.\n",
     ["main.ts:1:7 error TS2322: Type 'string' is not assignable."]),
    ("ocaml", 'File "./main.ml", line 1, characters 14-17:\n1 | x\nError: This expression\n',
     ["main.ml:1:0 error This expression"]),
    ("elixir", """** (RuntimeError) bad
    (elixir 1.14.0) lib/enum.ex:1065: Enum.fetch!/2
    main.exs:2: M.f/0
** (CompileError) main.exs:3: undefined
""", ["main.exs:2:0 error RuntimeError: bad", "main.exs:3:0 error CompileError: undefined"]),
    ("raku", "bad\n  in sub f at main.raku line 1\n", ["main.raku:1:0 error bad"]),
    ("raku", "bad\n  in sub f at main.raku line 2\n  in block <unit> at main.raku line 4\n\n",
     ["main.raku:2:0 error bad"]),
    ("raku", """===SORRY!=== Error while compiling /workspace/main.raku
Variable '$zz' is not declared.  Perhaps you forgot a 'sub' if this was
intended to be part of a signature?
at /workspace/main.raku:1
------> say <HERE>$zz;
""", ["main.raku:1:0 error Variable '$zz' is not declared.  Perhaps you forgot a 'sub' if this was "
      "intended to be part of a signature?"]),
    ("haskell", """
Main.hs:3:11: error: [GHC-39999]
    • No instance for ‘Num String’
      In the expression
""",
     ["Main.hs:3:11 error No instance for ‘Num String’"]),
    ("tcl", """can't read "zz": no such variable
    while executing
"puts $zz
}"
    (procedure "f" line 2)
    invoked from within
"f"
    (file "main.tcl" line 4)
""", ['main.tcl:4:0 error can\'t read "zz": no such variable']),
    ("tcl", """missing operand at end of expression
in expression "1 +"
    (parsing expression "1 +")
    invoked from within
"expr {1 +}"
    (file "main.tcl" line 1)
""", ['main.tcl:1:0 error missing operand at end of expression in expression "1 +"']),
    ("prolog", """ERROR: /workspace/main.pl:1: Initialization goal raised exception:
ERROR: is/2: Arithmetic: `foo/0' is not a function
Warning: Halting with status 1 due to 1 errors and 0 warnings
""", ["main.pl:1:0 error is/2: Arithmetic: `foo/0' is not a function"]),
    ("prolog", "Warning: /workspace/main.pl:1: Initialization goal failed\n",
     ["main.pl:1:0 warning Initialization goal failed"]),
    ("cpp", """In file included from main.cpp:1:
/usr/include/c++/14/bits/predefined_ops.h: In instantiation of ‘bool f()’:
/usr/include/c++/14/bits/stl_algo.h:1777:14:   required from ‘void std::sort()’
 1777 |           if (__comp(__i, __first))
      |               ~~~~~~^~~~~~~~~~~~~~
main.cpp:7:12:   required from here
    7 |   std::sort(v.begin(), v.end());
      |   ~~~~~~~~~^~~~~~~~~~~~~~~~~~~~
/usr/include/c++/14/bits/predefined_ops.h:45:23: error: no match for ‘operator<’
   45 |       { return *__it1 < *__it2; }
""", ["main.cpp:7:12 error no match for ‘operator<’"]),
    ("javascript", '/workspace/main.js:2\n  throw "n is " + n;\n  ^\nn is 3\n(Use `node ...`)\n',
     ["main.js:2:0 error n is 3"]),
    ("typescript", "/workspace/main.ts:1\nthrow { a: 1 };\n^\n\n{ a: 1 }\n\nNode.js v22.20.0\n",
     ["main.ts:1:0 error { a: 1 }"]),
    ("javascript", """node:assert:150
AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:

3 !== 4

    at Object.<anonymous> (/workspace/main.js:2:8)
""", ["main.js:2:8 error AssertionError: Expected values to be strictly equal: 3 !== 4"]),
    ("elixir", """** (TokenMissingError) token missing on main.exs:1:16:
    error: missing terminator: )
    └─ main.exs:1:16
** (ArgumentError) errors were found at the given arguments:

  * 1st argument: not a textual representation of an integer

    :erlang.binary_to_integer("abc")
    main.exs:1: (file)
""", ["main.exs:1:16 error TokenMissingError: missing terminator: )",
      "main.exs:1:0 error ArgumentError: errors were found at the given arguments: * 1st argument: "
      "not a textual representation of an integer"]),
    ("java", 'Exception in thread "main" java.net.UnknownHostException: example.com\n'
     + "\tat java.base/java.net.Socket.connect(Socket.java:597)\n" * 40
     + "\tat Main.main(Main.java:4)\n", ["Main.java:4:0 error java.net.UnknownHostException: example.com"]),
    ("pascal", """An unhandled exception occurred at $0000000000401234:
Exception: too many
  $0000000000401234  CHECK,  line 7 of main.pas
""", ["main.pas:7:0 error Exception: too many"]),
    ("perl", """Use of uninitialized value $x in concatenation (.) or string at main.pl line 3.
no at main.pl line 6.
""",
     ["main.pl:3:0 warning Use of uninitialized value $x in concatenation (.) or string",
      "main.pl:6:0 error no"]),
    ("perl", """Argument "x\\n" isn't numeric in addition (+) at main.pl line 2, <STDIN> line 1.
Can't locate Shapes.pm in @INC at main.pl line 3.
BEGIN failed--compilation aborted at main.pl line 3.
""", ["main.pl:2:0 warning Argument \"x\\n\" isn't numeric in addition (+)",
      "main.pl:3:0 error Can't locate Shapes.pm in @INC"]),
    ("ada", """main.adb:5:41: error: "Totl" is undefined
main.adb:5:41: error: possible misspelling of "Total"
""", ['main.adb:5:41 error "Totl" is undefined', 'main.adb:5:41 info possible misspelling of "Total"']),
    ("lua", "lua5.4: (error object is a table value)\nstack traceback:\n\t[C]: in function 'error'\n"
     "\tmain.lua:1: in main chunk\n", ["main.lua:1:0 error error object is a table value"]),
]  # fmt: skip


def told(items: tuple[Diagnostic, ...]) -> list[str]:
    return [f"{one.path}:{one.line}:{one.column} {one.severity} {one.message}" for one in items]


@pytest.mark.parametrize(("language", "text", "wanted"), SEEN, ids=[f"{row[0]}" for row in SEEN])
@pytest.mark.parametrize("tail", [False, True])
def test_what_was_seen(language, text, wanted, tail):
    declared = LANGUAGES[language]
    found = diagnose(text.encode(), declared.diagnostics, entry=declared.entry, tail=tail)
    assert told(found) == wanted


ALL = [pattern for language in LANGUAGES.values() for pattern in language.diagnostics]
hostile = st.one_of(
    st.binary(max_size=2000),
    st.lists(
        st.sampled_from([b'  File "', b'", line ', b":1", b": error: ", b"\n", b"(", b" at ", b" in ", b"a",
                         b"\x1b]", b"9" * 30, b"\xff",
                         "\u202e".encode(), b"../", b"/workspace/", b"\x1b[", b" --> ",
                         b"panic: "]),
        max_size=60,
    ).map(b"".join),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(hostile, st.booleans())
def test_whatever_is_printed_the_items_keep_their_rules(text, tail):
    for item in diagnose(text, ALL[:16], entry="main.x", tail=tail):
        assert workspace_path(item.path) == item.path
        assert 1 <= item.line <= 9_999_999
        assert 0 <= item.column <= 9_999_999
        assert item.severity in ("error", "warning", "info")
        assert item.message.isprintable()
        assert 0 <= len(item.message) <= diagnostics.MAX_MESSAGE


@pytest.mark.parametrize(
    "line",
    [
        b"a" * 70_000, b":" * 70_000, b" in " * 20_000, b"{" * 70_000, b"\x1b[" * 40_000,
        b"\x1b]" * 40_000,
        b"error: x in a:1: \n" * 4000, b'  File "x", line 1\n' * 4000, b"x: error: x\n" * 6000,
        b"\n" * 70_000,
        b"a:1:1: error: b\n" * 5000, b"A.B: " * 14_000, b"a::" * 23_000, b"\r" * 70_000, b"\x1b" * 70_000,
        b" at (" * 14_000, b"panic: \n\ta:1 +0x\n" * 4000,
    ],
    ids=range(17),
)  # fmt: skip
def test_no_line_takes_long(line):
    began = time.process_time()
    found = diagnose(line, ALL[:16], entry="main.x")
    # Ten pieces of work were seen; what tries twice would take minutes.
    assert time.process_time() - began < 500 * work_seconds()
    assert len(found) <= diagnostics.MAX_ITEMS


def test_the_beginning_of_a_compilers_output_counts_and_the_end_of_a_programs():
    patterns = LANGUAGES["c"].diagnostics
    text = b"".join(b"a.c:%d:1: error: e\n" % number for number in range(1, 20_000))
    head = diagnose(text, patterns, entry="")
    tail = diagnose(text, patterns, entry="", tail=True)
    assert (head[0].line, len(head)) == (1, 100)
    assert tail[0].line > 18_000
    assert len(tail) == 100


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("main.py", "main.py"), ("/workspace/a/b.py", "a/b.py"), ("./././x", "x"),
        ("file:///workspace/x", "x"), ("file:///workspace/my%20lib/%C3%BC.mjs", "my lib/ü.mjs"),
        ("file:///workspace/%2e%2e/etc/x", None), ("file:///workspace/a%00b", None), ("a%20b", "a%20b"),
        ("/usr/lib/x.py", None), ("../x", None), ("<string>", None), ("a\tb", None), ("", None),
        (".build/main.js", None), ("/workspace/.tmp/x", None), ("a\u202eb", None),
        ("/workspace/../etc/x", None), ("  /etc/passwd", None), ("\t ../x", None), ("  /workspace/x", "x"),
        ("/workspace/ ./ x", "x"),
    ],
)  # fmt: skip
def test_paths(path, wanted):
    assert workspace_path(path) == wanted


@pytest.mark.parametrize("text", ["", "{nope}", "{path}{message}", "{line} {line}", "{message}{*}"])
def test_templates_that_mean_nothing_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_template(text)


def test_problems_of_a_declaration_are_all_named():
    found = check.problems(
        tuple[Pattern, ...],
        [{"lines": ["{path}"]}, {"lines": ["{line}: {message}"], "within": 0}, {"lines": [], "x": 1},
         {"lines": ["{a}"]}, {"lines": ["{line} {message}"], "severity": "bad"},
         {"lines": ["{line} {message}"], "extension": "m"}],
        ("diagnostics",),
    )  # fmt: skip
    text = "\n".join(in_toml(problem, "l") for problem in found)
    for word in ("1: lines must have {line}", "2: within", "3: x is not known", "3: lines must be",
                 "4: lines cannot", "5: severity", "6: extension"):  # fmt: skip
        assert word in text
    with pytest.raises(ConfigError, match="diagnostics must be"):
        parse_language('name = "x"\ndiagnostics = 1', "x")


FRAMES = b"".join(b"\tat com.example.Main.f(Main.java:4)\n" for _ in range(1024))


@pytest.mark.parametrize(
    ("language", "text", "files", "wanted"),
    [
        # a file that is named without its folder, or with one more
        ("java", b'Exception in thread "main" x.E: no\n\tat a.B.f(B.java:7)', {"src/a/B.java"},
         [("src/a/B.java", 7)]),
        ("c", b"sub/x.c:3:1: error: no", {"x.c"}, [("x.c", 3)]),
        # a library's frame is passed by, and a file that is not there has no problem
        ("java", b'Exception in thread "main" x.E: no\n\tat java.L.f(L.java:7)\n\tat B.f(B.java:9)',
         {"B.java"}, [("B.java", 9)]),
        ("c", b"y.c:3:1: error: no", {"x.c"}, []),
        ("java", b'Exception in thread "main" java.lang.StackOverflowError\n' + FRAMES, {"Main.java"},
         [("Main.java", 4)]),
        # a name is that of a file with an extension, or of anything
        ("octave", b"error: no\nerror: called from\n    lib at line 5 column 3\n    main at line 2 column 1",
         {"s/lib.m", "main.m"}, [("s/lib.m", 5)]),
        ("octave", b"error: no\nerror: called from\n    own at line 5 column 3\n    main at line 9 column 1",
         {"s/lib.m", "main.m"}, [("main.m", 5)]),
        ("erlang", b"main.erl:3:5: Warning: variable 'X' is unused", {"main.erl"}, [("main.erl", 3)]),
    ],
)  # fmt: skip
def test_files_of_the_workspace(language, text, files, wanted):
    patterns = LANGUAGES[language].diagnostics
    found = diagnose(text, patterns, entry=LANGUAGES[language].entry, tail=True, files=files)
    assert [(item.path, item.line) for item in found] == wanted
    if language == "erlang":
        assert [item.severity for item in found] == ["warning"]


def test_lines_to_skip_are_neither_a_message_nor_a_place():
    text = b"error: deep\nerror: called from\n    assert at line 107 column 11\n    f at line 3 column 5\n"
    found = diagnose(text, LANGUAGES["octave"].diagnostics, entry="main.m")
    assert found == (Diagnostic("main.m", 3, 5, "error", "deep"),)


@pytest.mark.parametrize(
    ("language", "said", "wanted"),
    [
        ("python", "socket.gaierror: [Errno -3] Temporary failure in name resolution", ["no network"]),
        ("bash", "curl: (6) Could not resolve host: example.com", ["no network"]),
        ("java", "java.net.UnknownHostException: example.com", ["no network"]),
        ("python", "_tkinter.TclError: no display name and no $DISPLAY environment variable",
         ["needs a window"]),
        ("tcl", "init failed: no display name and no $DISPLAY environment variable", ["no display"]),
        ("python", "ModuleNotFoundError: No module named 'flask'", ["no module flask"]),
        ("python-science", "ValueError: unknown file extension: .mp4", ["save an animation as .gif"]),
        ("python-science", "FileNotFoundError: [Errno 2] No such file or directory: 'ffmpeg'", ["ffmpeg"]),
        ("python-science", "ValueError: unknown file extension: .xyz", []),
        ("rust", "error: no matching package named `tokio` found", ["crate tokio"]),
        ("go", "main.go:3:8: no required module provides package x.org/y: go.mod file not found", ["go get"]),
        ("c", "main.c:1:10: fatal error: boost/asio.hpp: No such file or directory", ["no such header"]),
        # Tcl prints 3,000 lines behind its message.
        ("tcl", "too many nested evaluations (infinite loop?)\n" + "    invoked from within\n" * 3000,
         ["itself"]),
        ("pascal", "Runtime error 202 at $000000000041722C", ["itself"]),
        ("python", "ModuleNotFoundError: No module named 'encodings'", ["PYTHONHOME"]),
        ("haskell", "    There is no module named ‘Main’.", ["`module Main where`"]),
        ("octave", "warning: function name 'f' does not agree with function filename '/workspace/main.m'",
         ["`1;`"]),
        ("php", "main.php: no <?php in this file, so it is printed and not run", ["`<?php`"]),
        ("pascal", "Runtime error 200 at $000000000041722C", ["division by zero"]),
        ("lua", "lua5.4: main.lua:2: stack overflow", ["itself"]),
        ("python", "hello\nConnectionRefusedError: [Errno 111] Connection refused", []),
        ("python", "x\n" * 100_000 + "\x1b[31mNetwork is unreachable\x1b[0m", ["no network"]),
    ],
)  # fmt: skip
def test_what_is_not_here_is_said(language, said, wanted):
    found = hints(said.encode(), LANGUAGES[language].hints)
    assert len(found) == len(wanted), found
    for sentence, words in zip(found, wanted, strict=True):
        assert words in sentence


@pytest.mark.parametrize(
    ("reason", "signal", "thrashed", "wanted"),
    [
        ("exited", None, False, []),
        ("signaled", "SEGV", False, ["memory that is not its own", "SANITIZE=address,undefined"]),
        ("signaled", "ABRT", False, ["SANITIZE=address,undefined"]),
        ("signaled", "TERM", False, []),
        ("oom", "KILL", False, ["All of the memory"]),
        ("oom", "KILL", True, ["All of the memory", "again and again"]),
        ("wall_timeout", "KILL", True, ["again and again"]),
        ("killed", "SEGV", False, []),  # another one sent it
    ],
)
def test_ends_that_no_output_explains_are_said(reason, signal, thrashed, wanted):
    found = hints_of_end(LANGUAGES["c"].hints, reason=reason, signal=signal, thrashed=thrashed)
    assert len(found) == len(wanted), found
    for sentence, words in zip(found, wanted, strict=True):
        assert words in sentence


@pytest.mark.parametrize(
    "fields",
    [{}, {"ended": "SEGV", "lines": ("Bad address",)}, {"ended": "SIGSEGV"}, {"ended": "dead"}],
)
def test_a_hint_is_for_output_or_for_an_end(fields):
    with pytest.raises(Problems):
        Hint("It ended.", **fields)


def test_what_is_said_is_in_the_page_s_table_of_texts():
    page = Path(__file__).parents[2] / "static"
    table = (page / "core/texts/en/hints.js").read_text("utf-8").replace("\\'", "'")
    said = {hint.say for language in LANGUAGES.values() for hint in language.hints}
    assert sorted(said) == sorted(re.findall(r"^    \w+: '(.*)',$", table, re.MULTILINE))
