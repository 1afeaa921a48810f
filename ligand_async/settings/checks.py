"""What `create_app` asks of the settings and of what stands beside them."""

from collections.abc import Mapping
from typing import Any

from ligand_async.settings.environments import STRICT
from ligand_async.settings.mistakes import Mistake, SettingsError, start_hint
from ligand_async.settings.model import Settings
from ligand_async.settings.rules import debug_mistake, testing_mistake
from ligand_async.settings.vocabulary import PROTECTED, Vocabulary


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


def check_config(config: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return `create_app(config=...)`, whose keys must be upper-case and must not hide a setting.

    Args:
        config: What goes to `app.config` for Quart and its extensions.
        settings: The service's settings.

    Raises:
        SettingsError: With every key that is refused.
    """
    vocabulary = settings.vocabulary()
    mistakes = [mistake for key in config if (mistake := refused(vocabulary, key))]
    if mistakes:
        raise SettingsError.listing(mistakes)
    return dict(config)


def refused(vocabulary: Vocabulary, key: str) -> Mistake | None:
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
