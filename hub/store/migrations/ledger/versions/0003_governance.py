"""Approvals, freezes, and what API keys may besides scopes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("plan_hash", sa.String(), nullable=False),
        sa.Column("group_name", sa.String(), nullable=False),
        sa.Column("four_eyes", sa.Integer(), nullable=False),
        sa.Column("on_expiry", sa.String(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("expires_at", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("approval_run", "approval", ["run_id", "created_at"], unique=False)
    op.create_index("approval_state", "approval", ["state", "expires_at"], unique=False)
    op.create_table(
        "money_freeze",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("by_name", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("lifted_by", sa.String(), nullable=True),
        sa.Column("lifted_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    for name in ("expires_at", "rate", "ceilings", "last_used_at", "old_hash", "old_until"):
        op.add_column("principal_key", sa.Column(name, sa.String(), nullable=True))
    op.create_index("ix_principal_key_old_hash", "principal_key", ["old_hash"], unique=False)
