"""C++ with <bits/stdc++.h>: what few programs use is not in its precompiled header."""

from __future__ import annotations

import pytest

from coderunner.schema import messages as m
from tests.harness import Server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]
ALL = "#include <bits/stdc++.h>\nusing namespace std;\n"
PROGRAMS = {
    "usual": ("int main() { vector v{3, 1, 2}; ranges::sort(v); for (int x : v) cout << x; }", "123"),
    "regex": ('int main() { cout << regex_replace("caat", regex("a+"), "o"); }', "cot"),
    "format": ('int main() { cout << format("{:>4}|{:x}", 5, 255); }', "   5|ff"),
    "filesystem": ('int main() { cout << filesystem::path("/a/b.c").stem(); }', '"b"'),
    "future": ("int main() { cout << async(launch::async, [] { return 42; }).get(); }", "42"),
    "measures": (
        "int main() { auto began = chrono::steady_clock::now();"
        " cout << chrono::duration_cast<chrono::hours>(chrono::steady_clock::now() - began).count(); }",
        "0",
    ),
    "prints a duration": ("int main() { cout << chrono::seconds(5); }", "5s"),
    "prints a duration beside what prints anything": (
        "struct Any { template <class T> Any(const T &) {} };"
        ' ostream &operator<<(ostream &out, const Any &) { return out << "any"; }'
        " int main() { cout << chrono::seconds(5); }",
        "5s",
    ),
    "formats a duration": ('int main() { cout << format("{}", chrono::milliseconds(5)); }', "5ms"),
    "another library": (
        "#include <nlohmann/json.hpp>\nint main() { cout << nlohmann::json{1, 2}; }",  # it uses <filesystem>
        "[1,2]",
    ),
    "an extension": (
        "#include <ext/pb_ds/assoc_container.hpp>\n"
        "int main() { __gnu_pbds::cc_hash_table<int, int> t; t[1] = 7; cout << t[1]; }",
        "7",
    ),
    "literals": ("using namespace literals; int main() { cout << 5ms; }", "5ms"),
    "literals without a word of them": ("int main() { cout << 5ms << 10s; }", "5ms10s"),
    "matches": ("int main() { smatch m; csub_match s; cout << m.size() << s.matched; }", "00"),
    "asks whether a duration can be printed": (
        "template<class T> concept Prints = requires(T t) { cout << t; };\n"
        "int main() { cout << Prints<chrono::seconds>; }",
        "1",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_what_few_use_is_there(everything: Server, name: str) -> None:
    code, expected = PROGRAMS[name]
    async with session(everything, "cpp") as client:
        one = await client.result(1, ALL + code, 60, entry="main.cpp")
        assert (one.text, one.exit.code) == (expected, 0)


async def test_also_in_headers_of_the_programs_own(everything: Server) -> None:
    code = ALL + '#include "parts/one.hpp"\nint main() { one(); }'
    beside = (
        m.File("parts/one.hpp", b'#include "two.hpp"\nvoid one() { two(); }\n'),
        m.File(
            "parts/two.hpp", b'inline void two() { cout << format("{}", regex_match("x", regex("x"))); }\n'
        ),
    )
    async with session(everything, "cpp") as client:
        await client.run(1, code, entry="main.cpp", beside=beside)
        one = await client.ended(1, 60)
        assert (one.text, one.exit.code) == ("true", 0)


async def test_messages_are_told_once(everything: Server) -> None:
    """A program that measures is compiled without what prints times first."""
    code = ALL + "int main() { auto t = chrono::seconds(5); int unused; %s }"
    async with session(everything, "cpp") as client:
        warned = await client.result(1, code % "cout << t.count();", 60, entry="main.cpp")
        assert warned.text.count("unused variable") == 1
        assert warned.text.endswith("5")
        wrong = await client.result(2, code % "oops;", 60, entry="main.cpp")
        assert wrong.exit.reason == "compile_failed"
        assert wrong.text.count("was not declared") == 1


HEADER = b'auto text() { return std::format("{:03}", 7); }\n'
UNREAD = {  # a header of the program's own that is not found in the source
    "import": '#import "own.h"\n',
    "macro": '#define OWN "own.h"\n#include OWN\n',
    "continued": '#include \\\n"own.h"\n',
}


@pytest.mark.parametrize("name", UNREAD)
async def test_headers_that_are_included_in_another_way(everything: Server, name: str) -> None:
    code = ALL + UNREAD[name] + "int main() { cout << text(); }"
    async with session(everything, "cpp") as client:
        await client.run(1, code, entry="main.cpp", beside=(m.File("own.h", HEADER),))
        one = await client.ended(1, 60)
        assert one.text.endswith("007")
        assert one.exit.code == 0


WRONG = {  # what the message has in common with the plain compiler's
    "a name that is nearly one of what is left out": (
        "int main() { auto s = std::formt(3); }", "‘formt’ is not a member of ‘std’; did you mean ‘format’?"
    ),
    "an error in a header": ("struct A {};\nint main() { set<A> s; s.insert(A{}); }", "from main.cpp:2:"),
    "a name that is also one of what is left out": (
        "struct cmatch {};\nint main() { cmatch c; }", "reference to ‘cmatch’ is ambiguous"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_messages_are_those_of_the_plain_compiler(everything: Server, name: str) -> None:
    code, expected = WRONG[name]
    async with session(everything, "cpp") as client:
        one = await client.result(1, "// first\n" + ALL + code, 60, entry="main.cpp")
        assert one.exit.reason == "compile_failed"
        assert expected in one.text
        assert "/usr/local/lib/headers" not in one.text


async def test_an_error_behind_a_small_set_names_the_line_of_the_include(everything: Server) -> None:
    includes = "// first\n#include <vector>\n#include <string>\n#include <iostream>\n"
    code = includes + "struct A {};\nint main() { std::cout << A{}; }"
    async with session(everything, "cpp") as client:
        one = await client.result(1, code, 60, entry="main.cpp")
        assert "/ostream:" in one.text
        assert "from main.cpp:4:" in one.text
