"""The languages of this server, and whether each can be used at the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from coderunner.core import limits as limit_rules
from coderunner.errors import LanguageFailed, LanguageNotReady, UnknownLanguage
from coderunner.schema.answers import LanguagesReady
from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits

PENDING, BUILDING, READY, FAILED = "pending", "building", "ready", "failed"
MAX_MESSAGE = 200  # characters of a failure's message in a warning
RETRY_AFTER_MS = 3000  # for a language that is not ready; an image takes longer, but many are nearly done


@dataclass(frozen=True, slots=True)
class Readiness:
    """``status``:

    PENDING, BUILDING, READY or FAILED.  ``message``: for people.  ``image``: its reference if ready."""

    status: str = PENDING
    message: str = ""
    image: str | None = None


class LanguageCatalog:
    """All languages, with their states.

    ``on_ready(name)``: called when a language becomes ready.  ``on_lost(name)``: when its image was removed.
    ``on_asked(name)``: when a client requests a language that is not ready.  ``asked``: the names of those.
    ``defaults``: limits of all languages.
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
        """The declaration of a language.  Raises UnknownLanguage."""
        found = self.languages.get(name)
        if found is None:
            known = ", ".join(sorted(self.languages))
            # Cut: the name comes from a client.
            raise UnknownLanguage(f"there is no language {name[:64]!r} here; there are: {known}")
        return found

    def limits(self, name: str) -> Limits:
        """The limits of a session in this language that requests none.  Raises UnknownLanguage."""
        return limit_rules.resolve(self._defaults, self.language(name).limits)

    def image(self, name: str) -> str:
        """The reference of the language's image.

        Raises UnknownLanguage, LanguageNotReady, LanguageFailed."""
        state = self.state(name)
        if state.image is not None:
            return state.image
        # A request is what moves a language to the front of the builds.
        self.ask(name)
        if state.status == FAILED:
            raise LanguageFailed(f"the image of {name} could not be built: {state.message}")
        raise LanguageNotReady(
            f"{name} is being prepared ({state.status}); try again", retry_after_ms=RETRY_AFTER_MS
        )

    def ask(self, name: str) -> None:
        """Somebody wants this language: it is built next, if it is not ready.  Raises UnknownLanguage."""
        # Each name once: many clients may ask for it while it is built.
        if self.state(name).image is not None or name in self.asked:
            return
        self.asked.add(name)
        if self.on_asked is not None:
            self.on_asked(name)

    def state(self, name: str) -> Readiness:
        """The state of a language.  Raises UnknownLanguage."""
        self.language(name)
        return self._states[name]

    def set_state(self, name: str, state: Readiness) -> None:
        """Sets the state of a language, and calls `on_ready` if it can be used now."""
        self._states[name] = state
        if state.image is not None:
            self.asked.discard(name)
            if self.on_ready is not None:
                self.on_ready(name)

    def lose(self, name: str) -> None:
        """The engine no longer has the language's image: it is built again.  Raises UnknownLanguage."""
        # Several openings may notice it at the same moment; it is built once.
        if self.state(name).image is None:
            return  # reported already
        self.set_state(name, Readiness(PENDING, "its image is gone and is made again"))
        if self.on_lost is not None:
            self.on_lost(name)

    def summary(self) -> LanguagesReady:
        """How many languages are ready, of how many; which are wanted and not ready, and which have
        failed."""
        return LanguagesReady(
            ready=len(self.ready()),
            of=len(self.languages),
            missing=tuple(sorted(self.asked)),
            failed=tuple(self._failed()),
        )

    def warnings(self) -> list[str]:
        """A sentence for each language that has failed, or that a client waits for."""
        failed = self._failed()
        found = [
            # The first line: the message of a failed build has many.
            f"{name} failed and cannot be used: {self._states[name].message.splitlines()[0][:MAX_MESSAGE]}"
            for name in failed
        ]
        return found + [
            f"{name} is asked for and not ready yet" for name in sorted(self.asked) if name not in failed
        ]

    def _failed(self) -> list[str]:
        return [name for name, state in self._states.items() if state.status == FAILED]

    def ready(self) -> list[str]:
        """The names of the languages that can be used now."""
        return [name for name, state in self._states.items() if state.image is not None]
