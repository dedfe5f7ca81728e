"""A compiler that is kept warm does what the plain one does; where it is away, the plain one does it."""

from __future__ import annotations

import pytest

from coderunner import declarations
from coderunner.schema import messages as m
from coderunner.schema.languages import Sample
from tests.harness import Client, Server, session

DECLARED = declarations.load()
WARM = [name for name, one in DECLARED.languages.items() if one.compile and one.service]

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


async def outcome(client: Client, number: int, sample: Sample, files: dict[str, bytes]) -> tuple[object, ...]:
    """What a user sees of a run: how it ended, and every byte of both streams."""
    given = tuple(m.File(path, data) for path, data in files.items())
    await client.send(m.Run(number, "pipe", files=given, entry=sample.entry, args=sample.args))
    await client.input(number, sample.stdin.encode())
    await client.send(m.Eof(number, len(sample.stdin.encode())))
    channel = await client.ended(number, 120)
    return channel.exit.reason, channel.exit.code, bytes(channel.data), bytes(channel.stderr)


@pytest.mark.parametrize("name", WARM)
async def test_with_and_without_it(compiled: Server, name: str) -> None:
    language = DECLARED.languages[name]
    assert language.service is not None
    files = DECLARED.samples(language)
    for sample in language.samples:
        async with session(compiled, name) as client:
            warm = await outcome(client, 1, sample, files[sample.name])
            await client.send(m.Shell(2, 80, 24))
            await client.input(2, f"rm {language.service.ready} && echo g''one\n".encode())
            await client.until(2, "gone")
            assert await outcome(client, 3, sample, files[sample.name]) == warm, sample.name
