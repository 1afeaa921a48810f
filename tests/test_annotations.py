"""Reading annotations, laws in the tests' docstrings."""

from typing import Annotated, Any, Literal, Optional, Union

import pytest

from ligand_async.annotations import bare, members_of, metadata_of, walk, without_none

NOTED = Annotated[int, {"unhashable": []}]


@pytest.mark.parametrize(
    ("annotation", "members"),
    [
        (int, [int]),
        (None, []),
        (Any, [Any]),
        (int | str | None, [int, str]),
        (Union[int, None], [int]),  # noqa: UP007  (the older form)
        (Optional[int], [int]),  # noqa: UP045  (the same)
        (Annotated[int | Annotated[str | None, "inner"], "outer"], [int, str]),
        (list[int | str], [list[int | str]]),
    ],
)
def test_a_union_has_members(annotation: Any, members: list[Any]) -> None:
    """The members of a union are its types, however it is written and annotated; None is not one of them."""
    assert members_of(annotation) == members


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (int, (int, False)),
        (int | None, (int, True)),
        (Annotated[int | None, "noted"], (int, True)),
        (int | str | None, (int | str | None, False)),
        (list[int] | None, (list[int], True)),
    ],
)
def test_none_is_left_out(annotation: Any, found: tuple[Any, bool]) -> None:
    """`X | None` is X and may be None; a union of more types stays whole."""
    assert without_none(annotation) == found


def test_metadata_is_apart_from_the_type() -> None:
    """`Annotated` is taken apart into its type and its metadata; another annotation has none."""
    assert (bare(NOTED), metadata_of(NOTED)) == (int, ({"unhashable": []},))
    assert (bare(int), metadata_of(int)) == (int, ())


def test_a_walk_finds_every_type_inside() -> None:
    """Items and members are found at any depth; metadata and literal values are not types."""
    annotation = dict[str, list[Annotated[int | None, "noted"]]] | Literal["a"]
    assert {str, int} <= {*walk(annotation)}
    assert not {"noted", "a"} & {*walk(annotation)}
    assert [*walk(NOTED)] == [int]
