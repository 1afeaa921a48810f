"""The triggers that keep the rows of the audit trail as they were written."""

PRUNES = "ligand.audit_prune"
"""The parameter of PostgreSQL that lets a transaction delete, if it is `on`: a hurdle, not a wall."""

REFUSAL = "rows of audit_event are not changed or deleted"

FUNCTION = f"""\
CREATE OR REPLACE FUNCTION {{function}}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('{PRUNES}', true) = 'on' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = '{REFUSAL}';
END
$$"""


def write_protection(dialect: str, table: str, schema: str | None = None) -> list[str]:
    """Return the statements that make the triggers of a table.

    On PostgreSQL those for rows are inherited by partitions, the one for TRUNCATE is not.

    Args:
        dialect: `postgresql` or `sqlite`.
        table: Its name.
        schema: Where it is, if not in the default schema.
    """
    names = quote(table, schema)
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {quote(f'{table}_no_{verb}', schema)} BEFORE {verb.upper()} ON {quote(table)} "
            f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            for verb in ("update", "delete")
        ]
    function = quote(f"{table}_refuse", schema)
    rows = f"BEFORE UPDATE OR DELETE ON {names} FOR EACH ROW"
    whole = f"BEFORE TRUNCATE ON {names} FOR EACH STATEMENT"
    return [
        FUNCTION.format(function=function),
        f"CREATE TRIGGER {quote(f'{table}_rows')} {rows} EXECUTE FUNCTION {function}()",
        f"CREATE TRIGGER {quote(f'{table}_all')} {whole} EXECUTE FUNCTION {function}()",
    ]


def write_end_of_protection(dialect: str, table: str, schema: str | None = None) -> list[str]:
    """Return the statements that drop the triggers of a table.

    Args:
        dialect: `postgresql` or `sqlite`.
        table: Its name.
        schema: Where it is, if not in the default schema.
    """
    if dialect == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {quote(f'{table}_no_{verb}', schema)}" for verb in ("update", "delete")]
    names = quote(table, schema)
    return [
        f"DROP TRIGGER IF EXISTS {quote(f'{table}_rows')} ON {names}",
        f"DROP TRIGGER IF EXISTS {quote(f'{table}_all')} ON {names}",
        f"DROP FUNCTION IF EXISTS {quote(f'{table}_refuse', schema)}()",
    ]


def quote(name: str, schema: str | None = None) -> str:
    """Return a name as both databases read it."""
    quoted = '"' + name.replace('"', '""') + '"'
    return quoted if schema is None else f"{quote(schema)}.{quoted}"
