"""The table of sign-outs, which are kept over a restart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "sign_outs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("expires", sa.Float, nullable=False),
    )
    op.create_index("sign_outs_expires", "sign_outs", ["expires"])


def downgrade() -> None:
    """Not supported: restore a backup instead."""
    raise NotImplementedError
