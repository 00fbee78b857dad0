"""What the tables of a study are, its format's number, and how older formats become the present.

Annotations and the actions they belong to are only ever added: triggers refuse to change or delete
them. What was undone is known from a later row that says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

#: Marks the file as one of ours.
APPLICATION_ID = 0x43445374
#: The present format; a change of the tables adds one here and a step to `MIGRATIONS`.
VERSION = 1

TABLES = (
    *("facts", "state", "images", "cells", "runs", "predictions", "evidence"),
    *("classes", "class_names", "observers", "actions", "annotations"),
)

_TABLES_SQL = """
-- what never changes: id, date, version of the program that made it
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- what a window wants to find again, as JSON
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL,
    path TEXT NOT NULL, near TEXT,              -- absolute; from the study's folder
    sha256 TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL, modified INTEGER NOT NULL,
    height INTEGER NOT NULL, width INTEGER NOT NULL,
    pixel_size_um REAL NOT NULL, pixel_size_source TEXT NOT NULL,
    labels TEXT,                                -- file in labels/, none for an image of one cell
    labels_sha256 TEXT, record TEXT NOT NULL, added TEXT NOT NULL);
CREATE TABLE cells (
    id INTEGER PRIMARY KEY, image INTEGER NOT NULL REFERENCES images (id),
    label INTEGER NOT NULL, y REAL NOT NULL, x REAL NOT NULL, area_um2 REAL,
    top INTEGER NOT NULL, "left" INTEGER NOT NULL, bottom INTEGER NOT NULL,
    "right" INTEGER NOT NULL, touches_border INTEGER NOT NULL,
    gone TEXT);                                 -- when its outline was deleted
CREATE UNIQUE INDEX one_name ON images (name COLLATE NOCASE);
CREATE UNIQUE INDEX one_label ON cells (image, label) WHERE gone IS NULL;
-- a model of some version with some settings
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, model TEXT NOT NULL, version TEXT NOT NULL,
    sha256 TEXT NOT NULL, classes TEXT NOT NULL, settings TEXT NOT NULL, made TEXT NOT NULL,
    used INTEGER NOT NULL);                     -- of several predictions the last used counts
CREATE TABLE predictions (
    run INTEGER NOT NULL REFERENCES runs (id), cell INTEGER NOT NULL REFERENCES cells (id),
    predicted TEXT NOT NULL, details TEXT NOT NULL,  -- other columns of cells.csv, as JSON
    PRIMARY KEY (cell, run)) WITHOUT ROWID;
CREATE TABLE evidence (                         -- all arrays of a classification, as safetensors
    run INTEGER NOT NULL REFERENCES runs (id), image INTEGER NOT NULL REFERENCES images (id),
    arrays BLOB NOT NULL, PRIMARY KEY (image, run));
CREATE TABLE classes (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, color TEXT NOT NULL,
    family TEXT NOT NULL DEFAULT '', merged INTEGER REFERENCES classes (id),
    deleted INTEGER NOT NULL DEFAULT 0);
-- every name that a class has, also earlier ones: a model goes on using those
CREATE TABLE class_names (
    key TEXT PRIMARY KEY, class INTEGER NOT NULL REFERENCES classes (id)) WITHOUT ROWID;
CREATE TABLE observers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE);
CREATE TABLE actions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, observer INTEGER NOT NULL REFERENCES observers (id),
    what TEXT NOT NULL CHECK (what IN ('annotate', 'undo', 'redo')),
    target INTEGER REFERENCES actions (id), at TEXT NOT NULL,
    CHECK ((what = 'annotate') = (target IS NULL)));
CREATE INDEX actions_of ON actions (observer, what, id);
CREATE INDEX actions_on ON actions (target, id) WHERE target IS NOT NULL;
CREATE TABLE annotations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, action INTEGER NOT NULL REFERENCES actions (id),
    cell INTEGER NOT NULL REFERENCES cells (id),
    class INTEGER REFERENCES classes (id),      -- none where the observer takes a label back
    seconds REAL CHECK (seconds >= 0), comment TEXT NOT NULL DEFAULT '');
CREATE INDEX annotations_of ON annotations (cell);
CREATE INDEX annotations_by ON annotations (action);
-- actions that annotate and are not undone
CREATE VIEW standing AS SELECT a.id, a.observer, a.at FROM actions a WHERE a.what = 'annotate'
    AND coalesce((SELECT u.what FROM actions u WHERE u.target = a.id ORDER BY u.id DESC LIMIT 1),
                 'redo') = 'redo';
-- what each observer says of each cell now
CREATE VIEW said AS SELECT max(n.id) AS annotation, n.cell, s.observer, n.class, s.at, n.seconds,
    n.comment FROM annotations n JOIN standing s ON s.id = n.action GROUP BY n.cell, s.observer;
"""

_APPENDED = """
CREATE TRIGGER {table}_{what} BEFORE {what} ON {table}
BEGIN SELECT RAISE(ABORT, 'annotations are only ever added'); END;
"""

#: What makes a study of one format one of the next, by the number of the earlier. A step uses
#: ``execute`` only: ``executescript`` would end the transaction that all steps are in.
MIGRATIONS: Mapping[int, Callable[[sqlite3.Connection], None]] = {}


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of the present format in an empty file."""
    connection.executescript(_TABLES_SQL)
    for table in ("actions", "annotations"):
        for what in ("UPDATE", "DELETE"):
            connection.executescript(_APPENDED.format(table=table, what=what))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
