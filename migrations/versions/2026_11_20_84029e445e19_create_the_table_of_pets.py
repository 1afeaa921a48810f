"""Create the table of pets.

Revision: 84029e445e19
After: nothing
Created: 2026-11-20 17:05:10.955908+00:00
"""

import sqlalchemy as sa
from alembic import op

from ligand_async.data import utc_now

revision = "84029e445e19"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pet",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=utc_now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=utc_now(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pet")),
    )
    with op.batch_alter_table("pet", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pet_name"), ["name"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("pet", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pet_name"))

    op.drop_table("pet")
