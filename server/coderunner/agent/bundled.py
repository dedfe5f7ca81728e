"""The agent's modules in one file: to find, open and read thirty of them is a fifth of its start.

    python3 bundled.py      in the image's build, writes BUNDLE

``begin`` imports them from there, without docstrings. The modules' own files stay, for tracebacks, and for a
container without the bundle.
"""

from __future__ import annotations

import gc
import marshal
import sys

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

FOLDER = "/opt/coderunner"
BUNDLE = FOLDER + "/agent.bundle"
_PACKAGES = ("coderunner", "coderunner.agent", "coderunner.wire")
_Spec: Any = type(sys.__spec__)  # importlib's ModuleSpec


class _Finder:
    """Finds the modules of a bundle.  ``codes``: each module's code by its name, as of `marshal`."""

    def __init__(self, codes: dict[str, bytes]) -> None:
        self._codes = codes

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in self._codes:
            return None
        place = FOLDER + "/" + name.replace(".", "/")
        if name not in _PACKAGES:
            return _Spec(name, self, origin=place + ".py")  # type: ignore[no-any-return]
        spec: ModuleSpec = _Spec(name, self, origin=place + "/__init__.py", is_package=True)
        spec.submodule_search_locations = [place]  # for modules that are in no bundle
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """None: an ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        exec(marshal.loads(self._codes.pop(module.__name__)), module.__dict__)


def install() -> None:
    """Makes `coderunner.agent` and `coderunner.wire` importable, from the bundle if there is one."""
    sys.path.insert(0, FOLDER)
    try:
        with open(BUNDLE, "rb") as file:
            sys.meta_path.insert(0, _Finder(marshal.loads(file.read())))
    except FileNotFoundError:
        pass


def begin() -> None:
    """The agent.  Never returns."""
    gc.disable()  # there is next to nothing to collect at a start, which takes a millisecond to look for it
    del sys.path[0]  # our own folder
    install()
    from coderunner.agent.main import main

    main()


def _write() -> None:
    from pathlib import Path

    codes = {}
    for path in sorted(Path(FOLDER, "coderunner").rglob("*.py")):
        name = ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__")
        code = compile(path.read_text("utf-8"), str(path), "exec", optimize=2, dont_inherit=True)
        codes[name] = marshal.dumps(code)
    Path(BUNDLE).write_bytes(marshal.dumps(codes))


if __name__ == "__main__":
    _write()
