"""How Alembic reaches a store, for ``sessionlift schema`` and for the plain ``alembic`` program.

Everything one command does, the version table and every stamp included, happens in one transaction: a command
that is killed, or that fails, leaves the store as it was.
"""

from __future__ import annotations

import importlib
from logging.config import fileConfig

from sqlalchemy import Connection, Engine

from alembic import context
from alembic.util.exc import CommandError
from sessionlift.errors import SessionliftError, UsageError
from sessionlift.generations import _connect, _revision
from sessionlift.generations._signatures import VERSION_TABLE
from sessionlift.stores import parse_store_url

# the commands of the plain program that only look
_READERS = {"branches", "check", "current", "heads", "history", "show"}


def _command() -> str:
    arguments = getattr(context.config.cmd_opts, "cmd", None)
    return arguments[0].__name__ if arguments else ""


def _url() -> str:
    url = context.get_x_argument(as_dictionary=True).get("url") or context.config.get_main_option("sqlalchemy.url")
    if not url:
        raise UsageError("Alembic was not told which store", hint="add -x url=libsql:///path/to/store.db")
    return str(url)


def _run(connection: Connection) -> None:
    """Run the command on a connection that is in a transaction already, so that Alembic opens none itself."""
    context.configure(
        connection=connection,
        version_table=VERSION_TABLE,
        transactional_ddl=True,
        # test tools give a model to compare with, and what of it
        target_metadata=context.config.attributes.get("target_metadata"),
        include_object=context.config.attributes.get("include_object"),
    )
    context.run_migrations()
    if _command() not in _READERS:
        _revision.drop_empty_version_table(connection)


def run_online() -> None:
    given = context.config.attributes.get("connection")
    if isinstance(given, Engine):  # as test tools give it
        with given.begin() as connection:
            _run(connection)
        return
    if given is not None:
        _run(given)
        return
    if context.config.config_file_name is not None and context.config.cmd_opts is not None:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    reading = _command() in _READERS
    with _connect.connect(_url(), mode="ro" if reading else "create") as connection, connection.begin():
        _run(connection)


def run_offline() -> None:
    """Print the SQL of an upgrade. The script is one transaction, like the command itself."""
    given = context.get_x_argument(as_dictionary=True).get("url")
    dialect = "duckdb" if given and parse_store_url(given).engine == "duckdb" else "sqlite"
    if dialect == "duckdb":
        importlib.import_module("duckdb_sqlalchemy.alembic_impl")  # tells Alembic how to speak it
    context.configure(dialect_name=dialect, version_table=VERSION_TABLE, transactional_ddl=True, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


try:
    if context.is_offline_mode():
        run_offline()
    else:
        run_online()
except SessionliftError as error:
    if not _command():
        raise
    # the plain program prints Alembic's own errors as one line, and any other as a traceback
    raise CommandError(str(error)) from error
