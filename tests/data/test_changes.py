"""What is told of a unit of work is what it did to each entity, neither more nor less."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from ligand_async.data import Change
from ligand_async.signals import changes_committed, changes_rolled_back
from tests.data.zoo import Animal, Bird, Cage, Fish, House, Keeper, brief, hearing, open_zoo, zoo


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """The zoo, started, in whose context the test runs."""
    async with open_zoo(database_url) as app:
        yield app


async def test_insert_tells_all_columns(app: Quart) -> None:
    """Of a new row every column is told, with what the database made, and the key; nothing private."""
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            animal = Animal(name="Leo", chip="secret")
            session.add(animal)

    (change,) = heard
    assert (change.action, change.entity_type, change.entity_class) == ("insert", "Animal", Animal)
    assert (change.table, change.key, dict(change.old)) == ("animal", (animal.id,), {})
    assert change.new == {
        "id": animal.id,
        "kind": "animal",
        "name": "Leo",
        "weight": 1,
        "twice": 2,
        "note": None,
        "traits": {},
        "diary": None,
        "house_id": None,
        "created_at": animal.created_at,
        "updated_at": animal.updated_at,
        "version": 1,
    }


async def store(*entities: object) -> None:
    """Store entities, with nobody listening."""
    async with zoo.transaction() as session:
        session.add_all(entities)


async def test_update_tells_what_changed(app: Quart) -> None:
    """Of a changed row the changed columns are told, old and new, also those that the database changes."""
    leo = Animal(name="Leo", note="hungry")
    await store(leo)
    before = leo.updated_at
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            animal = await session.get_one(Animal, leo.id)
            animal.weight = 5
            animal.note = "hungry"

    (change,) = heard
    assert (change.action, change.key) == ("update", (leo.id,))
    assert change.old == {"weight": 1, "twice": 2, "version": 1, "updated_at": before}
    assert change.new == {"weight": 5, "twice": 10, "version": 2, "updated_at": animal.updated_at}


async def test_delete_tells_all_that_was(app: Quart) -> None:
    """Of a deleted row all that was stored is told, not what was set before it was deleted."""
    leo = Animal(name="Leo", chip="secret")
    await store(leo)
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            animal = await session.get_one(Animal, leo.id)
            animal.name = "Never stored"
            await session.delete(animal)

    (change,) = heard
    assert (change.action, change.key, dict(change.new)) == ("delete", (leo.id,), {})
    assert brief(heard)[0][2] == {"name": "Leo", "weight": 1, "note": None}  # the diary was not loaded


async def test_nothing_changed_is_nothing_told(app: Quart) -> None:
    """An entity that was read, or set to what it was, is not told of."""
    leo = Animal(name="Leo")
    await store(leo)
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            animal = await session.get_one(Animal, leo.id)
            animal.name = "Leo"

    assert heard == []


async def test_private_update_is_told_without_values(app: Quart) -> None:
    """That a private column was changed is told, and from what to what is not."""
    leo = Keeper(badge="1"), Animal(name="Leo")
    await store(*leo)
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            (await session.get_one(Animal, leo[1].id)).chip = "secret"

    assert brief(heard) == [("update", "Animal", {}, {})]
    assert "secret" not in repr(heard)


async def test_flushes_of_one_unit_are_merged(app: Quart) -> None:
    """Several flushes of one entity come to one change: insert and update an insert, insert and delete nothing."""
    mia, rex = Animal(name="Mia"), Animal(name="Rex")
    await store(mia, rex)
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            leo, ghost = Animal(name="Leo"), Animal(name="Ghost")
            session.add_all([leo, ghost])
            await session.flush()
            leo.name, ghost.name = "Leopold", "Still a ghost"
            await session.flush()
            await session.delete(ghost)
            first, second = await session.get_one(Animal, mia.id), await session.get_one(Animal, rex.id)
            first.weight, second.weight = 2, 2
            await session.flush()
            first.weight, first.note = 3, "old"
            await session.delete(second)

    assert brief(heard) == [
        ("insert", "Animal", {}, {"name": "Leopold", "weight": 1, "note": None, "diary": None}),
        ("update", "Animal", {"weight": 1, "note": None}, {"weight": 3, "note": "old"}),
        ("delete", "Animal", {"name": "Rex", "weight": 1, "note": None}, {}),
    ]
    assert (heard[0].new["version"], heard[1].old["version"], heard[1].new["version"]) == (2, 1, 3)


async def test_change_taken_back_is_nothing(app: Quart) -> None:
    """A row that ends as it began is not told of."""
    await store(Cage(row=1, place=1, bars=10))
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            cage = await session.get_one(Cage, (1, 1))
            cage.bars = 11
            await session.flush()
            cage.bars = 10

    assert heard == []


async def test_row_replaced_is_an_update(app: Quart) -> None:
    """A row that was deleted and made anew under its key was changed."""
    await store(Cage(row=1, place=1, bars=10), Cage(row=1, place=2))
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            for place in (1, 2):
                await session.delete(await session.get_one(Cage, (1, place)))
            await session.flush()
            session.add_all([Cage(row=1, place=1, bars=20), Cage(row=1, place=2)])

    assert [(change.key, *brief([change])[0]) for change in heard] == [
        ((1, 1), "update", "Cage", {"bars": 10}, {"bars": 20})
    ]


async def test_composite_key_is_in_its_order(app: Quart) -> None:
    """A key of two columns is told in the order of the primary key, under the names of the attributes."""
    with hearing(changes_committed, app) as heard:
        await store(Cage(row=7, place=3))

    assert (heard[0].key, heard[0].new) == ((7, 3), {"row": 7, "place": 3, "bars": 10})


async def test_natural_key_that_changes_is_followed(app: Quart) -> None:
    """A key that changes is a changed column, and what follows it belongs to the same entity."""
    await store(Keeper(badge="1", name="Ann"))
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            keeper = await session.get_one(Keeper, "1")
            for badge, name in (("2", "Bea"), ("3", "Cleo")):
                keeper.badge, keeper.name = badge, name
                await session.flush()

    assert [change.key for change in heard] == [("3",)]
    assert brief(heard) == [("update", "Keeper", {"badge": "1", "name": "Ann"}, {"badge": "3", "name": "Cleo"})]


async def test_deleted_under_another_key_is_told_under_the_stored_one(app: Quart) -> None:
    """An entity whose key was changed and that was then deleted is deleted as what it was."""
    await store(Keeper(badge="1", name="Ann"))
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            keeper = await session.get_one(Keeper, "1")
            keeper.badge = "2"
            await session.flush()
            await session.delete(keeper)
            await session.flush()
            session.add(Keeper(badge="2", name="Bea"))

    assert [(change.action, change.key, change.old.get("badge")) for change in heard] == [
        ("delete", ("1",), "1"),
        ("insert", ("2",), None),
    ]


async def test_foreign_keys_of_relationships_are_columns(app: Quart) -> None:
    """A relationship shows as the column that holds it, also where only the other side was touched."""
    house = House(name="Cats")
    leo = Animal(name="Leo")
    await store(house, leo)
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            cats = await session.get_one(House, house.id)
            await session.refresh(cats, ["animals"])
            cats.animals.append(await session.get_one(Animal, leo.id))

    (change,) = heard
    assert (change.entity_type, change.old["house_id"], change.new["house_id"]) == ("Animal", None, house.id)
    assert (change.old["version"], change.new["version"]) == (1, 2)


async def test_orphans_and_cascades_are_deletes(app: Quart) -> None:
    """What the ORM deletes because of another entity is told like what was deleted by hand."""
    house = House(name="Cats", animals=[Animal(name="Leo"), Animal(name="Mia")])
    await store(house)
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            cats = await session.get_one(House, house.id)
            await session.refresh(cats, ["animals"])
            cats.animals.pop()
            await session.flush()
            await session.delete(cats)

    assert sorted((change.action, change.entity_type) for change in heard) == [
        ("delete", "Animal"),
        ("delete", "Animal"),
        ("delete", "House"),
    ]


async def test_inherited_entities_are_told_as_what_they_are(app: Quart) -> None:
    """A subclass is told by its own name, with the columns of all its tables, as one change."""
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            bird, fish = Bird(name="Tweety"), Fish(name="Wanda")
            session.add_all([bird, fish])
            await session.flush()
            bird.wings, bird.name = 1, "Tweetie"

    told = {change.entity_type: change for change in heard}
    assert {name: (change.table, change.key) for name, change in told.items()} == {
        "Bird": ("bird", (bird.id,)),
        "Fish": ("animal", (fish.id,)),
    }
    assert (told["Bird"].new["wings"], told["Bird"].new["name"], told["Bird"].new["kind"]) == (1, "Tweetie", "bird")
    assert "wings" not in told["Fish"].new


async def test_savepoint_that_is_rolled_back_is_not_told(app: Quart) -> None:
    """What a savepoint took back is not told, also from savepoints inside it; what another keeps is."""
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            session.add(Keeper(badge="1"))
            with contextlib.suppress(ZeroDivisionError):
                async with session.begin_nested():
                    session.add(Keeper(badge="2"))
                    async with session.begin_nested():
                        session.add(Keeper(badge="3"))
                    raise ZeroDivisionError
            async with session.begin_nested():
                session.add(Keeper(badge="4"))
            with pytest.raises(IntegrityError):
                async with session.begin_nested():
                    session.add(Keeper(badge="5"))
                    await session.flush()
                    session.add(Keeper(badge="1"))
            session.add(Keeper(badge="6"))

    assert [change.key for change in heard] == [("1",), ("4",), ("6",)]
    async with zoo.read() as session:
        assert set(await session.scalars(select(Keeper.badge))) == {"1", "4", "6"}


async def test_rollback_by_hand_starts_anew(app: Quart) -> None:
    """A unit that rolled itself back and went on tells, once committed, only of what is stored."""
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            session.add(Keeper(badge="1"))
            await session.flush()
            await session.rollback()
            session.add(Keeper(badge="2"))

    assert [change.key for change in heard] == [("2",)]


async def test_rolled_back_tells_what_was_flushed(app: Quart) -> None:
    """A unit that fails tells what it had flushed, and nothing is told as committed."""
    with (
        hearing(changes_committed, app) as kept,
        hearing(changes_rolled_back, app) as lost,
        pytest.raises(ZeroDivisionError),
    ):
        async with zoo.transaction() as session:
            session.add(Keeper(badge="1"))
            await session.flush()
            session.add(Keeper(badge="2"))
            raise ZeroDivisionError

    assert kept == []
    assert [(change.action, change.key) for change in lost] == [("insert", ("1",))]


async def test_failed_flush_is_not_told_of_itself(app: Quart) -> None:
    """Of a unit whose flush fails, the flushes before are told as rolled back."""
    await store(Keeper(badge="1"))
    with (
        hearing(changes_committed, app) as kept,
        hearing(changes_rolled_back, app) as lost,
        pytest.raises(IntegrityError),
    ):
        async with zoo.transaction() as session:
            session.add(Keeper(badge="2"))
            await session.flush()
            session.add(Keeper(badge="1"))

    assert kept == []
    assert [change.key for change in lost] == [("2",)]


async def test_unknown_values_are_left_out(app: Quart) -> None:
    """An old value that was never loaded is missing, rather than told as None; a loaded one is there."""
    await store(Animal(name="Leo", diary="secret"))
    with hearing(changes_committed, app) as heard:
        for options in ([], [undefer(Animal.diary)]):
            async with zoo.transaction() as session:
                leo = (await session.scalars(select(Animal).options(*options))).one()
                leo.diary = f"{len(options)}"

    assert [(change.old.get("diary", "unknown"), change.new["diary"]) for change in heard] == [
        ("unknown", "0"),
        ("0", "1"),
    ]


async def test_sql_expression_is_told_by_its_value(app: Quart) -> None:
    """A column set to SQL is told with what the database made of it, where that is known, and never with the SQL."""
    await store(Animal(name="Leo", weight=3))
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            leo = (await session.scalars(select(Animal))).one()
            leo.weight = Animal.weight + 1

    (change,) = heard
    assert change.old["weight"] == 3
    assert change.new.get("weight", 4) == 4


async def test_values_are_of_their_moment(app: Quart) -> None:
    """What was told does not change when the entity does."""
    leo = Animal(name="Leo", traits={"mane": "long"})
    with hearing(changes_committed, app) as heard:
        await store(leo)
        leo.traits["mane"] = "short"

    assert heard[0].new["traits"] == {"mane": "long"}


async def test_changes_are_read_only(app: Quart) -> None:
    """A receiver cannot change what the next one is told."""
    with hearing(changes_committed, app) as heard:
        await store(Keeper(badge="1"))

    with pytest.raises(TypeError):
        heard[0].new["badge"] = "2"  # type: ignore[index]  # what the test is about


async def test_statements_are_not_told(app: Quart) -> None:
    """A statement changes rows, not entities: nobody is told, as the guide says."""
    with hearing(changes_committed, app) as heard:
        async with zoo.transaction() as session:
            await session.execute(insert(Keeper).values(badge="1"))
            await session.execute(update(Keeper).values(name="Ann"))
            await session.execute(delete(Keeper))

    assert heard == []


async def read_cages() -> dict[tuple[int, int], int]:
    """Return what is stored."""
    async with zoo.read() as session:
        return {(cage.row, cage.place): cage.bars for cage in await session.scalars(select(Cage))}


async def do_at_random(session: AsyncSession, chance: Random) -> None:
    """Store, change, move or delete a cage, or do some of this in a savepoint that may be rolled back."""
    key, other = (1, chance.randrange(4)), (1, chance.randrange(4))
    cage = await session.get(Cage, key)
    match chance.choice(["put", "put", "move", "delete", "savepoint"]):
        case "put" if cage is None:
            session.add(Cage(row=key[0], place=key[1], bars=chance.randrange(3)))
        case "put" if cage is not None:
            cage.bars = chance.randrange(3)
        case "move" if cage is not None and await session.get(Cage, other) is None:
            cage.place = other[1]
        case "delete" if cage is not None:
            await session.delete(cage)
        case "savepoint":
            with contextlib.suppress(ZeroDivisionError):
                async with session.begin_nested():
                    for _ in range(chance.randrange(4)):
                        await do_at_random(session, chance)
                    if chance.random() < 0.5:
                        raise ZeroDivisionError
    await session.flush()


@pytest.mark.ligand_database("sqlite")
async def test_changes_are_the_difference(app: Quart, figure: Callable[[int, int], int]) -> None:
    """Whatever a unit does, what is told turns what was stored before into what is stored after, and nothing besides.

    The full form does 2,000 units.
    """
    chance = Random(7)  # noqa: S311  (not a secret)
    stored = await read_cages()
    for _ in range(figure(60, 2_000)):
        with hearing(changes_committed, app) as heard:
            async with zoo.transaction() as session:
                for _step in range(chance.randrange(8)):
                    await do_at_random(session, chance)

        assert apply(heard, stored) == (stored := await read_cages())


def apply(changes: Sequence[Change], stored: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], int]:
    """Return what is stored after changes, if each of them is one of what is stored before."""
    rest = dict(stored)
    added: dict[Any, int] = {}
    for change in changes:
        found = None
        if change.action != "insert":
            found = rest.pop((1, change.old.get("place", change.key[1])))
            assert change.old.get("bars", found) == found
        if change.action != "delete":
            added[change.key] = change.new.get("bars", found)
            assert change.old != change.new
    assert not added.keys() & rest.keys()
    return rest | added
