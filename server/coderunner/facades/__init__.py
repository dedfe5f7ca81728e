"""Interfaces of other code execution systems, on top of this server's runs: Piston, Judge0 and Jobe.

Each is switched on by its name in FACADES, and answers as that system does. Names, versions and limits are
data: `piston.toml`, `judge0.toml` and `jobe.toml`. docs/moving.md says what differs.
"""
