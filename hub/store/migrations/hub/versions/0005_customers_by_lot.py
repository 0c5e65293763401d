"""Find a customer's records lot by lot, so that new ones land on few pages of the index."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("record_customer", "record")
    op.create_index(
        "record_customer",
        "record",
        [sa.text("(rid >> 16)"), "customer"],
        unique=False,
        sqlite_where=sa.text("customer IS NOT NULL"),
        postgresql_where=sa.text("customer IS NOT NULL"),
    )
