"""The names of operations: `<verb>_<resource>`, from the registration alone, so that no other route can change one."""

import re
from collections import Counter
from collections.abc import Sequence

from ligand_async.docs.endpoints import Endpoint
from ligand_async.docs.errors import DocumentError


def name_operations(endpoints: Sequence[Endpoint]) -> dict[tuple[str, str, str], str]:
    """Name every operation, by the key of its endpoint.

    A function that answers several methods of a route has the method before its name, and so has one that is routed
    again for another method; a view that is routed again for the same one has a number after its name. Only routes that
    were registered before it count.

    Raises:
        DocumentError: Two operations have the same name.
    """
    methods = Counter(id(endpoint.rule) for endpoint in endpoints if is_function(endpoint))
    told: dict[tuple[str, str], str] = {}
    routed: Counter[tuple[str, str]] = Counter()
    names: dict[tuple[str, str, str], str] = {}
    owners: dict[str, Endpoint] = {}
    for endpoint in endpoints:
        name = endpoint.explicit_id or "_".join(name_words(endpoint))
        if methods[id(endpoint.rule)] > 1 or told.setdefault((endpoint.name, name), endpoint.method) != endpoint.method:
            name = f"{endpoint.method.lower()}_{name}"
        routed[endpoint.name, endpoint.method] += 1
        times = routed[endpoint.name, endpoint.method]
        name = name if times == 1 else f"{name}_{times}"
        refuse_clash(name, endpoint, owners.setdefault(written_by_clients(name), endpoint))
        names[endpoint.key] = name
    return names


def name_words(endpoint: Endpoint) -> list[str]:
    """Return the words of an operation's name, in order.

    The verb is the HTTP method for a class-based view, else the first word of the endpoint; the rest of the endpoint
    follows. Words of the blueprints' names that the endpoint does not say itself come between them: `pets.list_pets` is
    `list_pets`, `teams.create` is `create_teams`, and the pets mounted again as `v2` give `list_v2_pets`.
    """
    *mounts, tail = endpoint.name.split(".")
    verb, *resource = words_of(tail)
    if not is_function(endpoint):
        verb, resource = endpoint.method.lower(), words_of(tail)
    said = {singular(word) for word in (verb, *resource)}
    unsaid = [word for mount in mounts for word in words_of(mount) if singular(word) not in said]
    return [verb, *unsaid, *resource]


def is_function(endpoint: Endpoint) -> bool:
    """Tell whether a view is a function, and not the method of a class."""
    return endpoint.handler is endpoint.view


def words_of(name: str) -> list[str]:
    """Split a name at its underscores and hyphens."""
    return [word for word in name.replace("-", "_").split("_") if word] or [name]


def singular(word: str) -> str:
    """Return a word without its plural ending: good enough to see that `pets` speaks of a pet."""
    word = word.lower()
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def written_by_clients(name: str) -> str:
    """Return a name as the generators of clients write it, whatever its capitals: two of one spelling are one file."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower()


def refuse_clash(name: str, endpoint: Endpoint, owner: Endpoint) -> None:
    """Refuse a name that another endpoint has.

    Raises:
        DocumentError: The owner is another endpoint.
    """
    if owner is not endpoint:
        raise DocumentError(
            f"two operations are called {name!r}: {owner.method} {owner.rule.rule} ({owner.name}) and "
            f"{endpoint.method} {endpoint.rule.rule} ({endpoint.name}); rename one handler, "
            "register its blueprint under another name, or use quart_schema.operation_id"
        )
