"""The settings: declared once, read from the environment and a `.env` file, checked all together."""

from coderunner.config.document import example_text, settings_table
from coderunner.config.envfile import read
from coderunner.config.load import ENV_FILE, load
from coderunner.schema.settings import SETTINGS, Setting, Settings

__all__ = ["ENV_FILE", "SETTINGS", "Setting", "Settings", "example_text", "load", "read", "settings_table"]
