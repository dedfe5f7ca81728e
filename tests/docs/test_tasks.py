"""Every task of the server has an owner: `Tasks`, or a `TaskGroup` within the function that waits for it."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.harness import ROOT

SERVER = ROOT / "server/coderunner"
# These run outside of the server, as clients in processes of their own, and may not import it.
CLIENTS = ("attack", "bench", "client", "mcp", "samples")
OWNER = SERVER / "tasks.py"
STARTERS = ("create_task", "ensure_future", "run_coroutine_threadsafe")


def bare(source: str) -> list[int]:
    """The lines that start a task which nobody owns."""
    tree = ast.parse(source)
    groups = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and "TaskGroup(" in ast.unparse(item.context_expr)
    }
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        of, _, name = ast.unparse(node.func).rpartition(".")
        if name in STARTERS and of not in groups:
            found.append(node.lineno)
    return found


def sources() -> list[Path]:
    return [
        path
        for path in sorted(SERVER.rglob("*.py"))
        if path != OWNER and path.relative_to(SERVER).parts[0] not in (*CLIENTS, "languages")
    ]


def test_every_task_of_the_server_has_an_owner():
    assert len(sources()) > 200
    found = [f"{path.relative_to(ROOT)}:{line}" for path in sources() for line in bare(path.read_text())]
    assert not found, f"start these with `tasks.Tasks`: {found}"


def test_what_counts_as_a_task_without_an_owner():
    assert bare("asyncio.create_task(work())") == [1]
    assert bare("loop.create_task(work())\nensure_future(work())") == [1, 2]
    grouped = "async def f():\n async with asyncio.TaskGroup() as group:\n  group.create_task(work())"
    assert bare(grouped) == []
    assert bare(grouped + "\n  asyncio.create_task(work())") == [4]
