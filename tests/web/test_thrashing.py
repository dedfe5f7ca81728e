"""Mapped files that do not fit into a container's memory, and files that are read once, on a real kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from coderunner.schema import messages as m
from tests.harness import Server, docker, running_server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

MEMORY = 64 << 20
# The image's own files, as those of the workspace cannot be dropped: four times what the memory can keep.
PROGRAM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct { char *at; size_t size; int file; } maps[500];
static int count;
static size_t total;

static int add(const char *path, const struct stat *st, int kind, struct FTW *walk) {
  (void)walk;
  if (kind != FTW_F || st->st_size < 1 << 20 || total > 200 << 20 || count == 500) return 0;
  if (strstr(path, "/locale/")) return 0;  // which any program may map
  int file = open(path, O_RDONLY);
  char *at = mmap(NULL, st->st_size, PROT_READ, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) return 0;
  maps[count].at = at, maps[count].size = st->st_size, maps[count++].file = file;
  total += st->st_size;
  return 0;
}

static unsigned long touch(void) {
  unsigned long sum = 0;
  for (int i = 0; i < count; i++)
    for (size_t at = 0; at < maps[i].size; at += 4096) sum += maps[i].at[at];
  return sum;
}

int main(void) {
  static char buffer[1 << 16];
  unsigned long sum = 0;
  nftw("/usr", add, 20, FTW_PHYS);
  if (total < 150 << 20) return 3;
  WAY
  for (int i = 0; i < count; i++)
    while (read(maps[i].file, buffer, CHUNK) > 0) sum += buffer[0];
  printf("%lu\ndone\n", sum);
  return 0;
}
"""
# A program cannot do this: pages that another container has read would not count for its own.
DROP = """
import os
for folder, _, names in os.walk("/usr"):
    for path in (os.path.join(folder, name) for name in names):
        if not os.path.islink(path) and os.path.getsize(path) >= 1 << 20:
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
"""
ENDLESS = "for (;;) sum += touch();"
ONCE = {
    "mapped": ("sum += touch();", "0"),
    # Little memory is left for files.
    "mapped beside much memory": (
        "char *much = malloc(40 << 20); memset(much, 1, 40 << 20);\n"
        "sum += touch(); sum += much[sum % (40 << 20)];",
        "0",
    ),
    "read": ("", "sizeof buffer"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its own server, as sessions of others would be slow while this one keeps the disk busy."""
    folder = tmp_path_factory.mktemp("thrashing")
    with running_server(folder, ready=("c",), LANGUAGES="c", WARM_MAX="1") as one:
        yield one


async def end(server: Server, way: str, chunk: str, **limits: int) -> m.Exit:
    """The end of a program that maps the files, does what `way` says, and reads them by `chunk` bytes."""
    async with session(server, "c", limits={"memory_bytes": MEMORY}) as client:
        assert client.opened is not None
        image = docker("inspect", "--format", "{{.Image}}", f"coderunner-{client.opened.session}").strip()
        words = ("--rm", "--network", "none", "--entrypoint", "python3", image, "-c", DROP)
        await asyncio.to_thread(docker, "run", *words)
        program = PROGRAM.replace("WAY", way).replace("CHUNK", chunk)
        files = (m.File("main.c", program.encode()),)
        await client.send(m.Run(1, "pipe", files, "main.c", limits=limits))
        channel = await client.ended(1, 150)
        assert channel.exit is not None
        assert limits or channel.text.endswith("done\n"), channel.text
        return channel.exit


async def test_a_program_whose_mapped_files_thrash_is_told_as_out_of_memory(server: Server) -> None:
    ended = await end(server, ENDLESS, "0", wall_ms=40_000)
    # The reason stays that of the limit that ended it.
    assert (ended.reason, ended.limits_hit) == ("wall_timeout", ("memory",)), ended
    assert any("Memory was too small" in hint for hint in ended.hints), ended


@pytest.mark.parametrize("way", ONCE)
async def test_a_program_that_reads_large_files_once_is_left_alone(server: Server, way: str) -> None:
    ended = await end(server, *ONCE[way])
    assert (ended.reason, ended.code, ended.limits_hit, ended.hints) == ("exited", 0, (), ()), ended
