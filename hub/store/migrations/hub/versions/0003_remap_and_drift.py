"""Remap and drift: raw records that no table takes, where a remap is, what systems said of their fields."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("source", sa.Column("whole", sa.String(), nullable=True))
    op.add_column("raw", sa.Column("stream", sa.String(), nullable=True))
    op.execute("UPDATE raw SET stream = (SELECT stream FROM source WHERE source.id = raw.source_id)")
    op.create_table(
        "untaken",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("raw_hash", sa.LargeBinary(), nullable=False),
        sa.Column("read_at", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "stream", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "remap",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("noted_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "stream"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "described",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "stream"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "drift",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("after", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("drift_of", "drift", ["connection", "stream"], unique=False)
    op.create_table(
        "filled",
        sa.Column("source_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("looked", sa.Integer(), nullable=False),
        sa.Column("filled", sa.Integer(), nullable=False),
        sa.Column("recent_looked", sa.Integer(), nullable=False),
        sa.Column("recent_filled", sa.Integer(), nullable=False),
        sa.Column("emptied_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("source_id", "field"),
        sqlite_with_rowid=False,
    )
