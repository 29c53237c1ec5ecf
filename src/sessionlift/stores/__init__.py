"""Open a store by URL and move values through it exactly, whatever its driver gets wrong."""

from sessionlift.stores._base import BUSY_SECONDS, Mode, Role, Staged, Store
from sessionlift.stores._duckdb import DuckdbStore
from sessionlift.stores._duckdb_room import Need
from sessionlift.stores._fidelity import Fidelity, probe_fidelity
from sessionlift.stores._files import file_uri, real_file, side_file
from sessionlift.stores._kept_rows import forget_rows, keep_rows
from sessionlift.stores._libsql import LibsqlStore
from sessionlift.stores._open import not_a_database, open_store, through_stdlib
from sessionlift.stores._private import PrivateDirectory, file_size_limit, no_room
from sessionlift.stores._recovery import copy_with_side_files, needs_recovery
from sessionlift.stores._sniff import Found, sniff
from sessionlift.stores._sqld import SqldStore
from sessionlift.stores._sqlfile import SqliteFileStore
from sessionlift.stores._sqlite import SqliteStore
from sessionlift.stores._sqlite_errors import may_write
from sessionlift.stores._stage import listed, open_stage
from sessionlift.stores._url import Engine, StoreURL, parse_store_url
from sessionlift.stores._value import Row, Value, literal, quote_identifier

__all__ = [
    "BUSY_SECONDS",
    "DuckdbStore",
    "Engine",
    "Fidelity",
    "Found",
    "LibsqlStore",
    "Mode",
    "Need",
    "PrivateDirectory",
    "Role",
    "Row",
    "SqldStore",
    "SqliteFileStore",
    "SqliteStore",
    "Staged",
    "Store",
    "StoreURL",
    "Value",
    "copy_with_side_files",
    "file_size_limit",
    "file_uri",
    "forget_rows",
    "keep_rows",
    "listed",
    "literal",
    "may_write",
    "needs_recovery",
    "no_room",
    "not_a_database",
    "open_stage",
    "open_store",
    "parse_store_url",
    "probe_fidelity",
    "quote_identifier",
    "real_file",
    "side_file",
    "sniff",
    "through_stdlib",
]
