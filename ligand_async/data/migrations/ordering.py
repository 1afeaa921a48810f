"""In which order a generated migration drops tables: those that refer to others before those others."""

from graphlib import CycleError, TopologicalSorter
from itertools import filterfalse
from typing import Any

from alembic.operations import MigrateOperation, ops


def order_dropped_tables(script: ops.MigrationScript) -> None:
    """Put the dropping of tables last, and in an order that PostgreSQL accepts; Alembic takes them as they come.

    Tables that refer to each other in a circle are left as they are: their author has to drop a constraint first.
    """
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None:
        return
    drops = {operation.table_name: operation for operation in upgrade.ops if isinstance(operation, ops.DropTableOp)}
    try:
        order = list(TopologicalSorter({name: referred_by(drop) for name, drop in drops.items()}).static_order())
    except CycleError:
        return
    referred_first = [name for name in order if name in drops]
    places = {name: place for place, name in enumerate(referred_first)}

    def is_dropped(operation: MigrateOperation) -> bool:
        return isinstance(operation, ops.DropTableOp | ops.CreateTableOp) and operation.table_name in places

    def place(operation: Any) -> int:
        return places[operation.table_name]

    last = sorted(filter(is_dropped, upgrade.ops), key=place, reverse=True)
    upgrade.ops[:] = [*filterfalse(is_dropped, upgrade.ops), *last]
    first = sorted(filter(is_dropped, downgrade.ops), key=place)
    downgrade.ops[:] = [*first, *filterfalse(is_dropped, downgrade.ops)]


def referred_by(drop: ops.DropTableOp) -> set[str]:
    """Return the names of the other tables that a dropped table refers to."""
    constraints = drop.to_table().foreign_key_constraints
    targets = {element.target_fullname.split(".")[-2] for constraint in constraints for element in constraint.elements}
    return targets - {drop.table_name}
