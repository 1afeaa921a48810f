"""The principal session: a volatile key-value store for each authenticated caller, in memory or in Redis."""

import asyncio
import hashlib
import json
import logging
import random
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar, overload

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from quart import Quart
from werkzeug.routing import Rule

from ligand_async.auth import access_of
from ligand_async.context import current_principal, service_of, state_of
from ligand_async.errors import PrincipalSessionTooLarge, PrincipalSessionUnavailable, Problem
from ligand_async.principal import Principal
from ligand_async.protocols import DenyList, HealthCheck
from ligand_async.settings import Mistake, Settings, SettingsError
from ligand_async.tasks import this_app
from ligand_async.web.endpoint import Endpoint, Feature, binding_of, handler_of, operation_of
from ligand_async.web.session_stores import MAX_INTEGER, OVERFLOW, Limits, MemoryStore, RedisStore, Store, unavailable

logger = logging.getLogger(__name__)

MAX_KEY_BYTES = 255
_UPDATE_TIMEOUT = 2.0  # seconds that an update tries to come between those of other requests

T = TypeVar("T")


@lru_cache(maxsize=256)
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


class PrincipalSession:
    """The session of one caller: JSON values by key.

    Each call takes effect at once, for all requests of the caller, and stays if the request fails later. Requests at
    the same time do not lose each other's keys. Values vanish after a time without calls, and when the storage is full.

    All methods raise `PrincipalSessionUnavailable` (503) if Redis does not answer within a second, and `ValueError` for
    a key that is empty or longer than 255 bytes of UTF-8.

    Args:
        sessions: Those of the app.
        name: The name of this one.
    """

    __slots__ = ("_name", "_sessions")

    def __init__(self, sessions: "PrincipalSessions", name: str) -> None:
        self._sessions = sessions
        self._name = name

    @overload
    async def get(self, key: str) -> Any: ...
    @overload
    async def get(self, key: str, kind: type[T]) -> T | None: ...
    async def get(self, key: str, kind: Any = None) -> Any:
        """Return a value, or None if it is not there.

        Args:
            key: The key.
            kind: The type that the value is validated as, such as a pydantic model. A value that does not fit it, as
                another version of the service may have stored it, counts as not there.
        """
        return _read(await self._sessions.store.get(self._name, _check_key(key)), kind)

    async def set(self, key: str, value: Any) -> None:
        """Store a value.

        Args:
            key: The key.
            value: A pydantic model, or anything else that pydantic can write as JSON.

        Raises:
            TypeError: The value cannot be written as JSON.
            PrincipalSessionTooLarge: The value, or the session with it, would be too large (413).
        """
        await self._sessions.store.set(self._name, _check_key(key), self._sessions.write(value))

    async def update(self, key: str, kind: type[T], change: Callable[[T | None], T]) -> T:
        """Replace a value by one that is made of it, so that no change of another request is lost.

        Args:
            key: The key.
            kind: The type that the value is validated as.
            change: Gets the value, or None, and returns the new one. It runs again if another request was faster.

        Raises:
            TypeError: The new value cannot be written as JSON.
            PrincipalSessionTooLarge: The value, or the session with it, would be too large (413).
            PrincipalSessionUnavailable: Other requests were faster for two seconds (503).
        """
        _check_key(key)
        ends_at = time.monotonic() + _UPDATE_TIMEOUT
        while True:
            old = await self._sessions.store.get(self._name, key)
            made = change(_read(old, kind))
            new = self._sessions.write(made)
            if await self._sessions.store.swap(self._name, key, old, new):
                return made
            if time.monotonic() >= ends_at:
                raise unavailable("other requests of the caller change the same value all the time")
            await asyncio.sleep(random.uniform(0, 0.01))  # noqa: S311  (not for secrecy)

    async def increment(self, key: str, by: int = 1) -> int:
        """Add to an integer in one step, and return the sum. A value that is not there is 0.

        Args:
            key: The key.
            by: What to add; it may be negative.

        Raises:
            TypeError: The value, or `by`, is not an integer.
            OverflowError: `by` or the sum needs more than 64 bits.
            PrincipalSessionTooLarge: The session with it would be too large (413).
        """
        if type(by) is not int:
            raise TypeError(f"increment() adds an int, not a {type(by).__name__}")
        if not -MAX_INTEGER <= by <= MAX_INTEGER:
            raise OverflowError(OVERFLOW)
        return await self._sessions.store.add(self._name, _check_key(key), by)

    @overload
    async def pop(self, key: str) -> Any: ...
    @overload
    async def pop(self, key: str, kind: type[T]) -> T | None: ...
    async def pop(self, key: str, kind: Any = None) -> Any:
        """Remove a value and return it; of several requests at once, one gets it. The arguments are those of `get`."""
        return _read(await self._sessions.store.pop(self._name, _check_key(key)), kind)

    async def delete(self, key: str) -> None:
        """Remove a value, if it is there."""
        await self._sessions.store.pop(self._name, _check_key(key))

    async def keys(self) -> list[str]:
        """Return the keys, sorted."""
        return sorted(await self._sessions.store.keys(self._name))

    async def clear(self) -> None:
        """Remove all values, as for a caller who signs out."""
        await self._sessions.store.clear(self._name)


def _check_key(key: str) -> str:
    if not isinstance(key, str) or not 0 < len(key.encode()) <= MAX_KEY_BYTES:
        raise ValueError(f"a key of a principal session is a str of 1 to {MAX_KEY_BYTES} bytes")
    return key


def _read(raw: bytes | None, kind: Any) -> Any:
    if raw is None or kind is None:
        return None if raw is None else from_json(raw)
    try:
        return _adapter_of(kind).validate_json(raw)
    except ValidationError:
        logger.warning("a value of a principal session is not a %s; it counts as not there", kind)
        return None


class PrincipalSessions:
    """The sessions of one app.

    Args:
        store: Where they are.
        settings: The app's.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.checks: list[HealthCheck] = [store] if isinstance(store, RedisStore) else []
        self._max_value_bytes = settings.principal_session_max_value_bytes
        self._claims = settings.principal_session_claims
        self._is_private = isinstance(store, MemoryStore) and settings.environment in {"prod", "stage"}

    def open(self, principal: Principal) -> PrincipalSession:
        """Return the session of a caller."""
        if self._is_private:
            self._is_private = False  # once is enough
            logger.warning(
                "principal sessions are in the memory of this process; "
                "with several workers set principal_session_storage to a Redis, so that all see the same"
            )
        # A digest, because names of keys show in the logs of Redis. JSON, so that no two callers make one text.
        who = [principal.issuer, principal.subject, *(principal.claims.get(name) for name in self._claims)]
        text = json.dumps(who, sort_keys=True, default=str)
        return PrincipalSession(self, hashlib.blake2b(text.encode(), digest_size=16).hexdigest())

    def write(self, value: Any) -> bytes:
        """Return a value as JSON.

        Raises:
            TypeError: It cannot be written as JSON.
            PrincipalSessionTooLarge: It is too large.
        """
        try:
            raw = to_json(value)
            from_json(raw, allow_inf_nan=False)
        except ValueError:
            # Without its cause, which can have parts of the value.
            raise TypeError(f"a {type(value).__name__}, or something in it, cannot be written as JSON") from None
        if len(raw) > self._max_value_bytes:
            raise PrincipalSessionTooLarge(
                f"a value for the caller's session has {len(raw)} bytes, and may have {self._max_value_bytes}"
            )
        return raw

    def watch(self, deny_list: DenyList | None) -> DenyList | None:
        """Return a deny list that also empties the session of every caller that it denies."""
        if deny_list is None:
            return None

        async def deny(principal: Principal) -> bool:
            is_denied = await deny_list(principal)
            if is_denied is True:  # another value is an error, which enforcement raises
                try:
                    await self.open(principal).clear()
                except Problem as problem:  # the caller is denied all the same
                    logger.warning("principal sessions: that of a denied caller was not emptied: %s", problem.detail)
            return is_denied

        return deny


def current_principal_session() -> PrincipalSession | None:
    """Return the session of the caller, for views, websockets and streamed bodies; None for an anonymous one.

    Raises:
        RuntimeError: There is no current app, or it was not made by `ligand_async.create_app`.
    """
    principal = current_principal()
    return None if principal is None else service_of(this_app()).get(PrincipalSessions).open(principal)


async def empty_principal_session(principal: Principal) -> None:
    """Empty the session of any caller, such as one whom the issuer has signed out (OpenID Connect Back-Channel Logout).

    Args:
        principal: The caller; `Principal(subject, issuer)` is enough, unless `principal_session_claims` is set.

    Raises:
        RuntimeError: There is no current app, or it was not made by `ligand_async.create_app`.
        PrincipalSessionUnavailable: Redis does not answer.
    """
    await service_of(this_app()).get(PrincipalSessions).open(principal).clear()


def init_principal_sessions(app: Quart, settings: Settings) -> PrincipalSessions:
    """Give an app the sessions of its callers.

    Raises:
        SettingsError: A storage is set, but the extra `redis` is not installed.
    """
    sessions = state_of(app).put(PrincipalSessions(_make_store(app, settings), settings))
    app.after_serving(sessions.store.close)
    return sessions


def _make_store(app: Quart, settings: Settings) -> Store:
    limits = Limits(
        settings.principal_session_idle_timeout,
        settings.principal_session_lifetime,
        settings.principal_session_max_bytes,
    )
    if settings.principal_session_storage is None:
        return MemoryStore(limits, settings.principal_session_memory_bytes)
    url = settings.principal_session_storage.get_secret_value()
    try:
        return RedisStore(url, limits, f"{service_of(app).title}:principal_session:")
    except ImportError as error:
        variable = settings.vocabulary().variable("principal_session_storage")
        remedy = "run: pip install 'ligand-async[redis]'"
        mistake = Mistake("principal_session_storage", variable, "needs the extra redis", remedy)
        raise SettingsError.listing([mistake]) from error


def _problems(endpoint: Endpoint) -> set[type[Problem]]:
    plan = endpoint.plan
    if plan is None or all(step.key is not PrincipalSession for step in plan.steps):
        return set()
    return {PrincipalSessionTooLarge, PrincipalSessionUnavailable}


def _find_mistakes(app: Quart, rule: Rule, handler: Callable[..., Any]) -> Iterator[str]:
    operation = operation_of(handler)
    plan = None if operation is None else binding_of(app, operation, rule, rule.arguments).plan
    if plan is None or PrincipalSession not in plan.required:
        return
    view = app.view_functions[rule.endpoint]
    for method in sorted(rule.methods or ()):
        if handler_of(view, method) is handler and access_of(app, rule.endpoint, method).is_public:
            yield (
                "anyone may call it, and an anonymous caller has no PrincipalSession; remove @public, or annotate "
                "`PrincipalSession | None`"
            )


PRINCIPAL_SESSIONS = Feature(find_mistakes=_find_mistakes, problems=_problems)
