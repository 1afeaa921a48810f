"""Commands for whoever runs the service: `ligand --app examples.invoices.app:create_app clean-up --tenant acme`."""

from datetime import timedelta

import click
from sqlalchemy import func, select
from sqlalchemy.orm import selectinload

from examples.invoices.models import Invoice, Status, db
from examples.invoices.tenants import variables_for
from ligand_async.data import utc_now

BATCH = 100  # drafts in one transaction, so that no lock is held for long


@click.command("clean-up")
@click.option("--tenant", required=True, help="Whose drafts.")
@click.option("--days", default=90, show_default=True, type=click.IntRange(0), help="Keep drafts that are younger.")
@click.option("--dry-run", is_flag=True, help="Count them only.")
async def clean_up(tenant: str, days: int, dry_run: bool) -> None:
    """Delete the old drafts of a tenant."""
    old = (
        Invoice.tenant == tenant,
        Invoice.status == Status.DRAFT,
        Invoice.updated_at < utc_now() - timedelta(days=days),
    )
    async with db.read(variables=variables_for(tenant)) as session:
        number = await session.scalar(select(func.count()).select_from(Invoice).where(*old)) or 0
    statement = select(Invoice).where(*old).options(*map(selectinload, (Invoice.lines, Invoice.tags, Invoice.pdf)))
    for _ in range(0, 0 if dry_run else number, BATCH):
        async with db.transaction(variables=variables_for(tenant)) as session:
            for invoice in await session.scalars(statement.limit(BATCH)):
                await session.delete(invoice)
    click.echo(f"{number} drafts")
