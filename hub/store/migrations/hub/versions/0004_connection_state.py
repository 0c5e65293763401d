"""How connections stand: cut off after failures, or in need of new credentials."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "connection_state",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.BigInteger(), nullable=True),
        sa.Column("probing", sa.BigInteger(), nullable=True),
        sa.Column("degraded_at", sa.BigInteger(), nullable=True),
        sa.Column("reauth_at", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.String(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("connection"),
        sqlite_with_rowid=False,
    )
