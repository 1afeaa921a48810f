"""Index the order of the list of pets.

Revision: f10aee681e0f
After: b04b679a90e0
Created: 2026-11-20 20:44:40.224746+00:00
"""

from alembic import op

revision = "f10aee681e0f"
down_revision = "b04b679a90e0"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("pet", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pet_created_at_id"), ["created_at", "id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("pet", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pet_created_at_id"))
