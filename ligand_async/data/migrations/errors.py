"""What can go wrong with migrations, in words for whoever runs them."""


class MigrationError(RuntimeError):
    """A migration, or a command about migrations, did not do what was asked."""


class MigrationsNotFound(MigrationError):
    """There is no migrations directory where one was looked for, or none that could be made."""


class MigrationLockHeld(MigrationError):
    """Another process kept migrating the same database for longer than this one would wait."""


class MigrationFailed(MigrationError):
    """A migration raised an error; the text says in which file and line."""
