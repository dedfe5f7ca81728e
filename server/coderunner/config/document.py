"""Generates the documents of the settings: `.env.production.example` and the table of
`docs/configuration.md`."""

from __future__ import annotations

import textwrap

from coderunner.schema.settings import SETTINGS, Setting


def example_text() -> str:
    """Returns the text of `.env.production.example`:
    every setting with its description and production value."""
    lines = [
        "# CodeRunner in production. Copy this file to .env and change the marked lines.",
        "# An empty value means the default. Generated from the settings' declarations by:",
        "# python -m coderunner settings --example",
    ]
    for setting in SETTINGS:
        note = setting.help + (f" [{setting.doc.unit}]" if setting.doc.unit else "")
        lines += ["", *(f"# {line}" for line in textwrap.wrap(note, 96))]
        if setting.doc.required_in_production:
            lines.append("# CHANGE THIS")
        lines.append(f"{setting.name}={_production_value(setting)}")
    return "\n".join(lines) + "\n"


def _production_value(setting: Setting) -> str:
    """The value of a setting in `.env.production.example`."""
    if setting.name == "APP_ENV":
        return "production"
    return setting.doc.example or setting.default_for("production")


def settings_table() -> str:
    """Returns a Markdown table of all settings."""
    lines = ["| setting | default | in production | unit | meaning |", "| --- | --- | --- | --- | --- |"]
    for setting in SETTINGS:
        default = f"`{setting.doc.default}`" if setting.doc.default else ""
        if setting.doc.required_in_production:
            production = "required"
        elif setting.doc.production_default is not None:
            production = f"`{setting.doc.production_default}`"
        else:
            production = ""
        lines.append(f"| `{setting.name}` | {default} | {production} | {setting.doc.unit} | {setting.help} |")
    return "\n".join(lines) + "\n"
