"""Let PostgreSQL keep tenants apart.

Revision: 3b7e9a41c5d2
After: 8f2c51d0a7e3
Created: 2026-11-30 10:58:00+00:00
"""

from alembic import op

revision = "3b7e9a41c5d2"
down_revision = "8f2c51d0a7e3"
branch_labels = None
depends_on = None

TENANT = "nullif((SELECT current_setting('invoices.tenant', true)), '')"
# Rows below an invoice are those of its tenant: the policy of the invoice decides about them.
POLICIES = {
    "customer": f"tenant = {TENANT}",
    "invoice": f"tenant = {TENANT}",
    "tag": f"tenant = {TENANT}",
    "line": "EXISTS (SELECT FROM invoice WHERE invoice.id = line.invoice_id)",
    "invoice_tag": "EXISTS (SELECT FROM invoice WHERE invoice.id = invoice_tag.invoice_id)",
}


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, rule in POLICIES.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({rule}) WITH CHECK ({rule})")


def downgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table in POLICIES:
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
