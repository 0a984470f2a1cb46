"""The tables of the store, and how an older file gets those of today."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

APPLICATION_ID = 0x66706B73
"""What says in a file of SQLite that it is ours: "fpks"."""

MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE replica (
        id TEXT PRIMARY KEY, process TEXT, version TEXT NOT NULL, address TEXT NOT NULL, root TEXT NOT NULL,
        started_at TEXT NOT NULL
    );
    CREATE TABLE kernel (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, replica TEXT NOT NULL, root TEXT NOT NULL, purpose TEXT NOT NULL,
        keeper_id TEXT NOT NULL, generation INTEGER NOT NULL, phase TEXT NOT NULL, reason TEXT NOT NULL,
        provisioner TEXT NOT NULL, process TEXT, sealed BLOB NOT NULL, created_at TEXT NOT NULL,
        last_activity TEXT NOT NULL, execution_state TEXT NOT NULL
    );
    CREATE TABLE session (
        id TEXT PRIMARY KEY, path TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
        kernel_id TEXT NOT NULL REFERENCES kernel ON DELETE CASCADE, root TEXT NOT NULL, created_at TEXT NOT NULL
    );
    CREATE INDEX session_kernel ON session (kernel_id);
    """,
)
"""What makes each version of the tables from the one before it; the first one begins with nothing."""

VERSION = len(MIGRATIONS)


class UnknownFile(Exception):
    """A file has no tables that we know; the message says what is wrong, in words."""


def migrate(connection: sqlite3.Connection) -> None:
    """Give a file the tables of today: all of them, or it stays as it was.

    connection: one that begins no transactions by itself.
    Raises UnknownFile, sqlite3.Error.
    """
    connection.execute("BEGIN IMMEDIATE")  # two servers may start at once
    try:
        version = version_of(connection)
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            for statement in filter(str.strip, statements.split(";")):
                connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", [str(number)])
        if version < VERSION:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def version_of(connection: sqlite3.Connection) -> int:
    """The version of a file's tables; 0 for an empty one. Raises UnknownFile."""
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return 0
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise UnknownFile("it is a database of another program")
    found = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if found is None or not str(found[0]).isdigit():
        raise UnknownFile("it does not say which version its tables have")
    if int(found[0]) > VERSION:
        raise UnknownFile(
            f"it was made by a newer version of fps_kernels: its tables are {found[0]}, ours are {VERSION}"
        )
    return int(found[0])
