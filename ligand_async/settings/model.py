"""The settings of a service: how they are declared, read and checked."""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, get_args

from pydantic import (
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType
from pydantic_settings import BaseSettings, SettingsConfigDict

from ligand_async.settings.environments import ENVIRONMENTS, STRICT, keep_secret_key, not_kept
from ligand_async.settings.fields import UNPREFIXED, OIDCSettings
from ligand_async.settings.mistakes import CONFIG_FILE, PROTECTED, Mistake, SettingsError, Vocabulary, start_hint
from ligand_async.settings.rules import UNSET, debug_mistake, resolve, reveal, rule_mistakes, testing_mistake
from ligand_async.settings.sources import Given, parts

_PREFIX = re.compile(r"[A-Z][A-Z0-9_]*_")

# Pydantic's own messages and ours (`ligand_...`) are fixed; all others are the text of a service's validator,
# perhaps with the value in it.
_CUSTOM_KINDS = frozenset({"value_error", "assertion_error"})
_FIXED_KINDS = frozenset(get_args(ErrorType)) - _CUSTOM_KINDS

_Rows = Mapping[str, Mapping[str, Any]]


def _check_prefix(prefix: str) -> None:
    """Check the prefix of the variables.

    Raises:
        TypeError: The prefix is not upper-case with `_` at its end.
    """
    if _PREFIX.fullmatch(prefix) is None:
        raise TypeError(f"prefix {prefix!r} of settings must be upper-case and end with '_', such as 'PETSTORE_'")


def _merge_rows(inherited: _Rows, added: _Rows) -> _Rows:
    """Lay a subclass's rows of defaults over those of its base."""
    environments = {**inherited, **added}
    return MappingProxyType({name: {**inherited.get(name, {}), **added.get(name, {})} for name in environments})


def _check_rows(rows: _Rows, keys: Iterable[str]) -> None:
    """Check the rows of defaults of a subclass.

    Raises:
        TypeError: An environment or a key is unknown, or a secret key would stand in the code.
    """
    allowed = frozenset(keys) - {"environment"}
    for name, row in rows.items():
        if name not in ENVIRONMENTS:
            raise TypeError(f"defaults for {name!r}: the environments are {', '.join(ENVIRONMENTS)}")
        if unknown := sorted(set(row) - allowed):
            raise TypeError(f"defaults for {name!r} name no setting: {', '.join(unknown)}")
        if name in STRICT and "secret_key" in row:
            raise TypeError(f"defaults for {name!r} hold secret_key; a secret must not stand in the code")


def _check_fields(bases: Iterable[type], fields: Mapping[str, FieldInfo]) -> None:
    """Check the names of the settings of a subclass.

    Raises:
        TypeError: A name is reserved, taken or not lower-case, or a setting has an alias.
    """
    for key, info in fields.items():
        if key in PROTECTED or key == CONFIG_FILE:
            raise TypeError(f"setting {key!r} has a reserved name; choose another")
        if key != key.lower():
            raise TypeError(f"setting {key!r} must be lower-case; its variable is the upper-case one")
        if info.alias is not None or info.validation_alias is not None:
            raise TypeError(f"setting {key!r} has an alias; rename it, or choose the prefix")
        if any(hasattr(base, key) and key not in getattr(base, "model_fields", ()) for base in bases):
            raise TypeError(f"setting {key!r} hides an attribute of Settings; choose another name")


__all__ = ["Mistake", "Settings", "SettingsError"]


class Settings(OIDCSettings):
    """The settings of a service: read once by `Settings.load`, then fixed.

    The constructor takes every value as given and reads nothing. A service adds settings of its own, and chooses
    the prefix of its variables and what its environments have as defaults:

        class PetSettings(Settings, prefix="PETSTORE_", defaults={"local": {"mail_url": "smtp://127.0.0.1"}}):
            mail_url: str

    A setting without a default is required in every environment but `cli`, where reading it raises AttributeError.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="LIGAND_", hide_input_in_errors=True)

    environment_rows: ClassVar[_Rows] = MappingProxyType(
        {name: MappingProxyType({"drain_delay": 3.0}) for name in STRICT}
    )
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)
    _validated: dict[str, Any] = PrivateAttr(default_factory=dict)  # as they were when pydantic last looked at them

    def __init__(self, **values: Any) -> None:
        # BaseSettings would read the environment again, and log what it found when PYDANTIC_SETTINGS_DEBUG is set.
        super(BaseSettings, self).__init__(**values)
        self._validated = dict(self.__dict__)

    def __init_subclass__(cls, *, prefix: str | None = None, defaults: _Rows | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if prefix is not None:
            cls.model_config["env_prefix"] = prefix
        cls.environment_rows = _merge_rows(cls.environment_rows, defaults or {})

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        _check_prefix(cls.model_config["env_prefix"])
        _check_fields(cls.__bases__, cls.model_fields)
        _check_rows(cls.environment_rows, cls.model_fields)

    @classmethod
    def load(cls, environment: str | None = None, **overrides: Any) -> Self:
        """Read the settings from every source.

        Strongest first: the arguments, the process's environment, `.env`, `.quartenv`, `.flaskenv`, the config
        file, the environment's defaults, the defaults of the class.

        Args:
            environment: `prod`, `stage`, `local`, `testing` or `cli`; else the variable `LIGAND_ENVIRONMENT`, else
                `prod`.
            **overrides: Settings by key.

        Raises:
            SettingsError: With everything that is wrong.
        """
        vocabulary = cls.vocabulary()
        resolved = resolve(vocabulary, cls.environment_rows, environment, overrides)
        mistakes = resolved.mistakes
        settings: Self | None = None
        try:
            settings = cls(**{key: one.value for key, one in resolved.given.items()})
        except ValidationError as error:
            mistakes += _describe_invalid(vocabulary, resolved.given, error)
        if settings is not None and not mistakes:  # an iterator is empty when it was looked at, and pydantic keeps it
            values = {key: value for key, value in settings if key in settings.model_fields_set}
            mistakes += rule_mistakes(vocabulary, resolved.environment, values)
        if settings is not None and resolved.key_file is not None and not mistakes:
            try:
                key = SecretStr(keep_secret_key(resolved.key_file))
                settings = settings.model_copy(update={"secret_key": key})
            except (OSError, ValueError):
                mistakes.append(not_kept(resolved.key_file, vocabulary.variable("secret_key")))
        # Outside of `except`, because the chained error would hold the values.
        if settings is None or mistakes:
            raise SettingsError.listing(mistakes, hint=start_hint(resolved.environment, vocabulary.prefix))
        settings._sources = {key: one.source for key, one in resolved.given.items()}
        settings._validated = dict(settings.__dict__)
        return settings

    def _changed(self) -> set[str]:
        """Return the keys of the values that pydantic has not validated."""
        return {key for key, value in self.__dict__.items() if self._validated.get(key, UNSET) is not value}

    @classmethod
    def vocabulary(cls) -> Vocabulary:
        """Return the names of these settings and of their variables."""
        return Vocabulary(cls.model_config["env_prefix"], cls.model_fields, UNPREFIXED)

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each value came from: `argument`, a variable, a file's name, which default it is, or `the code`."""
        changed = self._changed() if self._sources else self.model_fields_set
        return MappingProxyType(
            {
                key: "the code" if key in changed else self._sources.get(key, "default")
                for key in type(self).model_fields
            }
        )

    def config_copy(self) -> dict[str, Any]:
        """Return an upper-case copy for `app.config`.

        Secrets stay wrapped but for SECRET_KEY, which Quart reads. Changing the copy changes no setting.
        """
        copy = {key.upper(): deepcopy(value) for key, value in self}
        return {**copy, "SECRET_KEY": self.secret_key.get_secret_value()}

    @field_validator("*", mode="wrap")
    @classmethod
    def _pass_unset(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        return value if value is UNSET else validate(value)

    @model_validator(mode="after")
    def _drop_unset(self) -> Self:
        for key in [key for key, value in self if value is UNSET]:
            del self.__dict__[key]
            self.__pydantic_fields_set__.discard(key)
        return self

    if not TYPE_CHECKING:  # a type checker would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                variable = self.vocabulary().variable(name)
                raise AttributeError(f"setting {name!r} is not set, cli needs nothing; set {variable} to read it")
            return super().__getattr__(name)


_S = TypeVar("_S", bound=Settings)


def check_settings(settings: _S) -> _S:
    """Apply the rules of the environment to settings, whoever made them, and return them.

    The constructor, `model_copy` and `model_construct` apply none. Values that pydantic has not seen, as those that
    `model_copy(update=...)` takes, are validated here.

    Args:
        settings: The service's settings.

    Raises:
        SettingsError: With everything that is wrong.
    """
    vocabulary, checked = settings.vocabulary(), settings
    mistakes: list[Mistake] = []
    if settings._changed():
        unset = dict.fromkeys(vocabulary.fields, UNSET) if settings.environment == "cli" else {}
        try:
            checked = type(settings)(**unset | dict(settings))
        except ValidationError as error:
            mistakes = _describe_invalid(vocabulary, {}, error)
        else:
            checked._sources = dict(settings.sources)
    environment = str(settings.environment)
    values = {key: value for key, value in checked if key in checked.model_fields_set}
    known = {mistake.key for mistake in mistakes}
    mistakes += [one for one in rule_mistakes(vocabulary, environment, values) if one.key not in known]
    if mistakes:
        raise SettingsError.listing(mistakes, hint=start_hint(environment, vocabulary.prefix))
    return checked


def check_serving(settings: Settings) -> None:
    """Refuse to serve in `cli`, where nothing has to be set and nothing is checked.

    Raises:
        SettingsError: It is that environment.
    """
    if settings.environment == "cli":
        variable = settings.vocabulary().variable("environment")
        raise SettingsError(
            "the environment cli is for commands that only look at the code, and cannot serve; "
            f"set {variable} to prod, stage or local"
        )


def check_production(settings: Settings, *, debug: bool, testing: bool) -> None:
    """Refuse debug and testing mode in `prod` and `stage`.

    Called when the app is made and again when it starts: Quart's command line turns debug on in between.

    Args:
        settings: The service's settings.
        debug: The app's debug mode.
        testing: The app's testing mode.

    Raises:
        SettingsError: One of them is on.
    """
    if settings.environment not in STRICT:
        return
    mistakes = [debug_mistake()] if debug else []
    if testing:
        mistakes.append(testing_mistake())
    if mistakes:
        hint = start_hint(settings.environment, settings.vocabulary().prefix)
        raise SettingsError.listing(mistakes, hint=hint)


# Of Quart, for the cookie that holds the session (RFC 6265bis sections 4.1.2 and 4.1.3.2).
_SAFE_COOKIE: Mapping[str, Any] = MappingProxyType(
    {
        "SESSION_COOKIE_NAME": "__Host-session",
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_PATH": "/",
        "SESSION_COOKIE_DOMAIN": None,
    }
)


def cookie_config(settings: Settings) -> dict[str, Any]:
    """Return what `app.config` says about the session cookie in `prod` and `stage`; elsewhere Quart's own holds."""
    return dict(_SAFE_COOKIE) if settings.environment in STRICT else {}


def check_cookie(settings: Settings, config: Mapping[str, Any]) -> None:
    """Refuse a session cookie that is less safe than that of `cookie_config`.

    It may have another name with `__Host-`, and `SameSite=Strict`. Called when the app is made and again when it
    starts: `app.config` can be changed in between.

    Args:
        settings: The service's settings.
        config: The config of the app.

    Raises:
        SettingsError: With every key that is not safe.
    """
    if settings.environment not in STRICT:
        return
    mistakes = [
        Mistake(key, None, "in config makes the session cookie less safe", f"leave it out, or set it to {safe!r}")
        for key, safe in _SAFE_COOKIE.items()
        if not _is_safe(key, config.get(key), safe)
    ]
    if mistakes:
        raise SettingsError.listing(mistakes, hint=start_hint(settings.environment, settings.vocabulary().prefix))


def _is_safe(key: str, value: Any, safe: Any) -> bool:
    if key == "SESSION_COOKIE_NAME":
        return isinstance(value, str) and value.startswith("__Host-")
    if key == "SESSION_COOKIE_SAMESITE":
        return value in {"Lax", "Strict"}
    return value == safe and type(value) is type(safe)


def check_config(config: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return `create_app(config=...)`, whose keys must be upper-case and must not hide a setting.

    Args:
        config: Values for `app.config`, for Quart and its extensions.
        settings: The service's settings.

    Raises:
        SettingsError: With every key that is refused.
    """
    vocabulary = settings.vocabulary()
    mistakes = [mistake for key in config if (mistake := _refused(vocabulary, key))]
    if mistakes:
        raise SettingsError.listing(mistakes)
    return dict(config)


def _refused(vocabulary: Vocabulary, key: str) -> Mistake | None:
    """Describe what is wrong with a key of `app.config`, if anything is."""
    word = key.lower()
    setting = key.upper().removeprefix(vocabulary.prefix).lower()
    if word in PROTECTED:
        return Mistake(key, None, "in config belongs to the service", f"give it to create_app({word}=...)")
    if setting in vocabulary.fields:
        remedy = f"give it to Settings.load({setting}=...) or set the variable"
        return Mistake(key, vocabulary.variable(setting), "in config is a setting", remedy)
    if not key.isupper():
        return Mistake(key, None, "in config is not upper-case, Quart would ignore it", f"write {key.upper()}")
    return None


def _describe_invalid(vocabulary: Vocabulary, given: Mapping[str, Given], error: ValidationError) -> list[Mistake]:
    """Return the mistakes of a validation error, but for values that are missing."""
    return [_describe(vocabulary, given, details) for details in error.errors() if details["type"] != "missing"]


def _describe(vocabulary: Vocabulary, given: Mapping[str, Given], details: ErrorDetails) -> Mistake:
    """Describe one of pydantic's errors."""
    place = details["loc"]
    if not place:
        values = [value.value for key, value in given.items() if key != "environment"]
        reason = _safe_message(details, values, secret=False)
        return Mistake(
            "settings", None, f"do not agree: {reason}" if reason else "do not agree", "correct them together"
        )
    key = str(place[0])
    origin = given.get(key, Given(None, "the code"))
    reason = _safe_message(details, details["input"], secret=_is_secret(vocabulary, key))
    item = next((f" in item {step + 1}" for step in place[1:] if isinstance(step, int)), "")
    problem = f"is not valid{item}: {reason}" if reason else f"is refused by its validator{item}"
    meant = get_close_matches(str(details["input"]), _options(details), n=1)
    remedy = f"did you mean {meant[0]}?" if meant else f"correct it in {origin.place}"
    return Mistake(key, origin.variable or vocabulary.variable(key), problem, remedy)


def _safe_message(details: ErrorDetails, values: Any, *, secret: bool) -> str | None:
    """Return the message of an error, or None if the message may show the value.

    Args:
        details: The error.
        values: The values that must not be shown.
        secret: The setting is a secret, about which only fixed text is shown.
    """
    kind, message = details["type"], details["msg"]
    if kind.startswith("ligand_"):
        return message
    is_fixed = kind in _FIXED_KINDS
    if secret and not is_fixed:
        return None
    for text in _texts(values):
        found = re.search(rf"(?<!\w){re.escape(text)}(?!\w)", message) if is_fixed else text in message
        if found:
            return None
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message[:1].lower() + message[1:]


def _texts(values: Any) -> Iterator[str]:
    """Yield every value inside a value, as text."""
    revealed = reveal(values)
    if isinstance(revealed, Mapping):
        revealed = [*revealed.keys(), *revealed.values()]
    if isinstance(revealed, list | tuple | set | frozenset):
        for item in revealed:
            yield from _texts(item)
    elif str(revealed):
        yield str(revealed)


def _is_secret(vocabulary: Vocabulary, key: str) -> bool:
    info = vocabulary.fields.get(key)
    return info is not None and any(
        isinstance(part, type) and issubclass(part, SecretStr) for part in parts(info.annotation)
    )


def _options(details: ErrorDetails) -> list[str]:
    """Return the values that would have been allowed, where they are few."""
    expected = details.get("ctx", {}).get("expected", "") if details["type"] == "literal_error" else ""
    return re.findall(r"'([^']+)'", expected)
