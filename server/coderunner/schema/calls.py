"""What an agent is told to start."""

from __future__ import annotations

from msgspec import Struct

from coderunner.schema.limits import Processors, Whole
from coderunner.schema.messages import Modes
from coderunner.schema.reports import Kinds


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """A language's service, begun in `folder`; it is ready when the path `ready` exists."""

    command: tuple[str, ...]
    env: dict[str, str]
    folder: str
    start_ms: int
    ready: str


class PreloadSpec(Struct, frozen=True, kw_only=True):
    """A language's preload: programs are forked from it instead of executing `run`.

    `entries`: patterns of the entry files that it can run. `fixed`: patterns of names in the environment; a
    program that has another value there than the preload is executed.
    """

    command: tuple[str, ...]
    env: dict[str, str]
    folder: str
    start_ms: int
    run: tuple[str, ...]
    entries: tuple[str, ...]
    fixed: tuple[str, ...]


class Companions(Struct, frozen=True, omit_defaults=True):
    """What an agent is to have ready before a user comes."""

    service: ServiceSpec | None = None
    preload: PreloadSpec | None = None


class ProgramLimits(Struct, frozen=True):
    """What the agent itself enforces: milliseconds, bytes of output, processors, and the program's share of
    the container's memory."""

    wall_ms: Whole
    cpu_ms: Whole
    output_bytes: Whole
    cpus: Processors
    memory_bytes: Whole


class ProgramVariant(Struct, frozen=True):
    """The commands where the file `when` is in the workspace."""

    when: str
    compile: tuple[str, ...]
    run: tuple[str, ...]


class ProgramSpec(Struct, frozen=True, kw_only=True):
    """A `run` or a `shell`, with all that its language says of it. Commands are as declared: the agent
    expands them, and chooses among the variants. `stdin`: a file of the workspace. `restored`: it begins in
    the workspace as it was kept, and with no process of before."""

    kind: Kinds
    mode: Modes
    cols: int
    rows: int
    workspace: str
    build: str
    entry: str
    args: tuple[str, ...] = ()
    sources: tuple[str, ...]
    main: str
    extensions: tuple[str, ...]
    variants: tuple[ProgramVariant, ...] = ()
    compile: tuple[str, ...] = ()
    run: tuple[str, ...]
    stdin: str | None = None
    env: dict[str, str]
    limits: ProgramLimits
    restored: bool = False

    @property
    def first_phase(self) -> str:
        """What it begins with, as far as is known here: the variant is chosen in the container."""
        compiles = self.compile or any(variant.compile for variant in self.variants)
        return "compiling" if compiles else "running"
