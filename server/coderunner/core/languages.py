"""Parses a language's `language.toml` into its model (`schema.languages`)."""

from __future__ import annotations

from coderunner.errors import ConfigError
from coderunner.schema.languages import Language
from coderunner.schema.toml import read_toml


def parse_language(text: str, folder: str) -> Language:
    """Parses the text of `<folder>/language.toml`. Raises ConfigError with all problems found."""
    where = f"languages/{folder}/language.toml"
    language = read_toml(Language, text, where)
    if language.name != folder:  # the folder's name is used for its image and its samples
        raise ConfigError([f"{where}: name must be the folder's: {folder}"])
    return language
