"""The languages of this server, and what can be had of each at the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from coderunner.core import limits as limit_rules
from coderunner.errors import LanguageFailed, LanguageNotReady, UnknownLanguage
from coderunner.schema.answers import LanguagesReady
from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits

PENDING, BUILDING, READY, FAILED = "pending", "building", "ready", "failed"
MESSAGE = 200  # characters of a failure that a warning repeats


@dataclass(frozen=True, slots=True)
class Readiness:
    """``status``: one of the four words; ``message``: for people; ``image``: the reference once ready."""

    status: str = PENDING
    message: str = ""
    image: str | None = None


class LanguageCatalog:
    """``on_ready`` is told of each language that becomes ready, ``on_lost`` of one whose image has gone,
    ``on_asked`` of one that somebody wants, and that is not ready.  ``asked``: those, until they are ready.
    """

    def __init__(self, languages: Mapping[str, Language], defaults: Limits) -> None:
        self.languages = dict(languages)
        self.on_ready: Callable[[str], None] | None = None
        self.on_lost: Callable[[str], object] | None = None
        self.on_asked: Callable[[str], None] | None = None
        self.asked: set[str] = set()
        self._defaults = defaults
        self._states = {name: Readiness() for name in languages}

    def language(self, name: str) -> Language:
        """Raises UnknownLanguage."""
        found = self.languages.get(name)
        if found is None:
            known = ", ".join(sorted(self.languages))
            raise UnknownLanguage(f"there is no language {name[:64]!r} here; there are: {known}")
        return found

    def limits(self, name: str) -> Limits:
        """The limits of a session in this language that asks for none. Raises UnknownLanguage."""
        return limit_rules.resolve(self._defaults, self.language(name).limits)

    def image(self, name: str) -> str:
        """The image to start from. Raises UnknownLanguage, LanguageNotReady, LanguageFailed."""
        state = self.state(name)
        if state.image is not None:
            return state.image
        self.ask(name)
        if state.status == FAILED:
            raise LanguageFailed(f"the image of {name} could not be built: {state.message}")
        raise LanguageNotReady(f"{name} is being prepared ({state.status}); try again", retry_after_ms=3000)

    def ask(self, name: str) -> None:
        """Somebody wants this language, or looks at it.  Raises UnknownLanguage."""
        if self.state(name).image is not None or name in self.asked:
            return
        self.asked.add(name)
        if self.on_asked is not None:
            self.on_asked(name)

    def state(self, name: str) -> Readiness:
        """How far it is. Raises UnknownLanguage."""
        self.language(name)
        return self._states[name]

    def set_state(self, name: str, state: Readiness) -> None:
        """It has become this; `on_ready` is told of a language that can be used now."""
        self._states[name] = state
        if state.image is not None:
            self.asked.discard(name)
            if self.on_ready is not None:
                self.on_ready(name)

    def lose(self, name: str) -> None:
        """Somebody removed the image beneath us."""
        if self.state(name).image is None:
            return  # known already
        self.set_state(name, Readiness(PENDING, "its image is gone and is made again"))
        if self.on_lost is not None:
            self.on_lost(name)

    def summary(self) -> LanguagesReady:
        """How many of how many are ready; which are asked for and missing, and which have failed."""
        return LanguagesReady(
            ready=len(self.ready()),
            of=len(self.languages),
            missing=tuple(sorted(self.asked)),
            failed=tuple(self._failed()),
        )

    def warnings(self) -> list[str]:
        """Of each language that failed, or that somebody waits for."""
        failed = self._failed()
        found = [
            f"{name} failed and cannot be used: {self._states[name].message.splitlines()[0][:MESSAGE]}"
            for name in failed
        ]
        return found + [
            f"{name} is asked for and not ready yet" for name in sorted(self.asked) if name not in failed
        ]

    def _failed(self) -> list[str]:
        return [name for name, state in self._states.items() if state.status == FAILED]

    def ready(self) -> list[str]:
        """The languages that can be used now."""
        return [name for name, state in self._states.items() if state.image is not None]
