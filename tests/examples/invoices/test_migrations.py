"""The migrations of the invoicing service, up and down, with rows in the tables."""

from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from examples.invoices.app import create_app
from examples.invoices.models import db
from ligand_async.data.migrations import check, downgrade, upgrade
from ligand_async.settings import Settings
from ligand_async.web import LigandQuart
from tests.examples.invoices.callers import Caller, upload

MIGRATIONS = Path("examples/invoices/migrations")


def settings_of(url: str) -> Settings:
    """Return the settings of the owner of the tables."""
    settings: Settings = create_app("testing", database_url=url).extensions["ligand_async"].settings
    return settings


async def test_migrations_agree_with_the_models(app: LigandQuart, database_url: str) -> None:
    """The migrations make what the models say, on both databases."""
    assert not (await check(db, settings_of(database_url), MIGRATIONS)).drift


async def test_rows_stay_when_the_last_release_is_undone(
    app: LigandQuart, database_url: str, ann: Caller, eve: Caller
) -> None:
    """The release before finds its invoices in statuses that it can read, and this one finds them again."""
    customer = await ann.customer()
    for number, step in (("1", None), ("2", "send"), ("3", "void"), ("4", "pay")):
        where, *_ = await ann.invoice(customer, number)
        assert (await upload(ann, where))[0] == 200
        if step is not None:
            await ann.send("POST", f"{where}/send")
            await eve.send("POST", f"{where}/{step}", {"paid_on": "2030-01-01"} if step == "pay" else None)
    settings = settings_of(database_url)

    await downgrade(db, settings, MIGRATIONS, "3b7e9a41c5d2")
    engine = create_async_engine(settings.database_url.get_secret_value() if settings.database_url else "")
    async with engine.connect() as connection:
        before = (await connection.execute(text("SELECT number, status FROM invoice ORDER BY number"))).all()
    await engine.dispose()
    await upgrade(db, settings, MIGRATIONS)

    assert [tuple(row) for row in before] == [("1", "draft"), ("2", "sent"), ("3", "draft"), ("4", "paid")]
    assert not (await check(db, settings, MIGRATIONS)).drift
    _, page, _ = await ann.send("GET", "/invoices/?sort=number")
    assert [(one["number"], one["status"], one["paid_on"]) for one in page["items"]] == [
        ("1", "draft", None),
        ("2", "sent", None),
        ("3", "draft", None),
        ("4", "paid", None),
    ]
    assert (await upload(ann, f"/invoices/{page['items'][0]['id']}"))[0] == 200
