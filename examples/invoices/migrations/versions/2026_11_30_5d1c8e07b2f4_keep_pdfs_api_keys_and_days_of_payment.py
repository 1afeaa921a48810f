"""Keep PDFs, API keys and days of payment.

Revision: 5d1c8e07b2f4
After: 3b7e9a41c5d2
Created: 2026-11-30 12:58:30.747597+00:00
"""

import sqlalchemy as sa
from alembic import op

from ligand_async.data import utc_now

revision = "5d1c8e07b2f4"
down_revision = "3b7e9a41c5d2"
branch_labels = None
depends_on = None

TENANT = "nullif((SELECT current_setting('invoices.tenant', true)), '')"
KEY = "nullif((SELECT current_setting('invoices.key', true)), '')"
# A key is looked up before its tenant is known: whoever knows the digest of one may read that row.
POLICIES = {
    "pdf": "USING (EXISTS (SELECT FROM invoice WHERE invoice.id = pdf.invoice_id))",
    "api_key": f"USING (tenant = {TENANT} OR digest = {KEY}) WITH CHECK (tenant = {TENANT})",
}


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(length=50), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=utc_now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=utc_now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_key_tenant_created_at_id"), ["tenant", "created_at", "id"])

    op.create_table(
        "pdf",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=utc_now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_pdf_invoice_id_invoice")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pdf")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_pdf_invoice_id")),
    )
    with op.batch_alter_table("invoice", schema=None) as batch_op:
        batch_op.add_column(sa.Column("paid_on", sa.Date(), nullable=True))
        batch_op.create_index(batch_op.f("ix_invoice_tenant_due_on_id"), ["tenant", "due_on", "id"], unique=False)

    with op.batch_alter_table("invoice_tag", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_invoice_tag_tag_id"), ["tag_id"], unique=False)

    if op.get_context().dialect.name == "postgresql":
        for table, rule in POLICIES.items():
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant ON {table} {rule}")


def downgrade() -> None:
    # The release before this one cannot read "void". As a draft, the invoice asks nobody for money.
    is_forced = op.get_context().dialect.name == "postgresql"
    if is_forced:  # or the owner of the table would see no row
        op.execute("ALTER TABLE invoice NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE invoice SET status = 'draft' WHERE status = 'void'")
    if is_forced:
        op.execute("ALTER TABLE invoice FORCE ROW LEVEL SECURITY")

    with op.batch_alter_table("invoice_tag", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_invoice_tag_tag_id"))

    with op.batch_alter_table("invoice", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_invoice_tenant_due_on_id"))
        batch_op.drop_column("paid_on")

    op.drop_table("pdf")
    op.drop_table("api_key")
