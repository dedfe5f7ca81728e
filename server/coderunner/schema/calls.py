"""Models of what the server tells an agent to start: programs, shells, and a language's companions."""

from __future__ import annotations

from msgspec import Struct

from coderunner.schema.limits import Processors, Whole
from coderunner.schema.messages import Modes
from coderunner.schema.reports import Kinds


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """A language's service. `folder`: its working directory. `start_ms`: how long it may take to start.
    `ready`: a path that exists once the service can be used."""

    command: tuple[str, ...]
    env: dict[str, str]
    folder: str
    start_ms: int
    ready: str


class PreloadSpec(Struct, frozen=True, kw_only=True):
    """A language's preload: a process with its runtime loaded,
    from which programs are forked to start faster.

    `run`: the command whose execution the fork replaces. `entries`: patterns of the entry files that it can
    run. `fixed`: patterns of environment variables that the runtime reads only at its own start; a program
    with another value for one of them is executed instead of forked.
    """

    command: tuple[str, ...]
    env: dict[str, str]
    folder: str
    start_ms: int
    run: tuple[str, ...]
    entries: tuple[str, ...]
    fixed: tuple[str, ...]


class Companions(Struct, frozen=True, omit_defaults=True):
    """What an agent starts in a warm container, before it is given to a user."""

    service: ServiceSpec | None = None
    preload: PreloadSpec | None = None


class ProgramLimits(Struct, frozen=True):
    """The limits that the agent enforces itself: times in milliseconds, output in bytes, processors, and the
    memory in bytes, which may be less than the container's (compilers may have more)."""

    wall_ms: Whole
    cpu_ms: Whole
    output_bytes: Whole
    cpus: Processors
    memory_bytes: Whole


class ProgramVariant(Struct, frozen=True):
    """The commands to use if the file `when` exists in the workspace."""

    when: str
    compile: tuple[str, ...]
    run: tuple[str, ...]


class ProgramSpec(Struct, frozen=True, kw_only=True):
    """A program or a shell to start, with everything that its language declares.

    Commands contain placeholders: the agent expands them and chooses the variant, as both depend on the
    files in the workspace. `stdin`: a file of the workspace. `restored`: before the start, all processes are
    ended and the workspace is restored from the agent's snapshot.
    """

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
        """The phase that the channel is assumed to begin with: `compiling` if any variant compiles.

        The agent, which chooses the variant, reports the true phase later.
        """
        # The agent's own report follows at once, so a wrong guess shows for a moment only.
        compiles = self.compile or any(variant.compile for variant in self.variants)
        return "compiling" if compiles else "running"
