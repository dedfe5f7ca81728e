"""Alembic's environment and the migrations, which are part of the wheel."""
