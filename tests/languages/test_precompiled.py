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
