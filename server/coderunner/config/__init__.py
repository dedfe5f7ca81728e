"""Reads the settings (declared in `schema.settings`) from the environment and a `.env` file,
and validates them."""

from coderunner.config.document import example_text, settings_table
from coderunner.config.envfile import read
from coderunner.config.load import ENV_FILE, load
from coderunner.schema.settings import SETTINGS, Setting, Settings

__all__ = ["ENV_FILE", "SETTINGS", "Setting", "Settings", "example_text", "load", "read", "settings_table"]
