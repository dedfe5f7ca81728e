"""What a linker puts into a program: enough to tell what went wrong, and no more."""

from __future__ import annotations

import pytest

from tests.harness import Server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]
SIZE_AND_BACKTRACE = """
fn broken(x: &str) -> i32 { x.parse().unwrap() }
fn main() {
    println!("{}", std::fs::metadata(std::env::current_exe().unwrap()).unwrap().len());
    broken("x");
}
"""


async def test_a_rust_program_is_small_and_its_backtrace_has_names(everything: Server) -> None:
    async with session(everything, "rust") as client:
        await client.run(1, SIZE_AND_BACKTRACE, entry="main.rs", env={"RUST_BACKTRACE": "1"})
        one = await client.ended(1, 60)
        size, rest = one.text.split("\n", 1)
        assert int(size) < 2 << 20
        assert "thread 'main' panicked at main.rs:2:" in rest
        assert "main::broken" in rest
        assert one.exit.code == 101
