"""The tables of the log's database, and the triggers that keep history from being edited by accident.

Triggers stop mistakes and careless tools; against somebody with the disk in hand only the tree, its
signatures and witnesses help. `entry` and `open_intent` are derived and may be rebuilt; all else only grows.
"""

from collections.abc import Iterable

#: In the database's header, so that `file` and SQLite tell the log from other databases: "SRlg".
APPLICATION_ID = 0x53526C67

#: Version of this schema, kept as SQLite's user_version.
SCHEMA_VERSION = 2

_TABLES = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Leaf hashes of the Merkle tree. Never changes, so the tree stays whole when bodies are pruned.
CREATE TABLE leaf (seq INTEGER NOT NULL PRIMARY KEY, hash BLOB NOT NULL CHECK (length(hash) = 32)) STRICT;

-- Roots of finished subtrees of 2^8, 2^16, ... leaves (audit/log/merkle.py).
CREATE TABLE node (
    level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

-- The records' canonical bytes: what was hashed.
CREATE TABLE body (seq INTEGER NOT NULL PRIMARY KEY, bytes BLOB NOT NULL) STRICT;

-- What the policy engine was given, stored once; first_seq is the record that first named it.
CREATE TABLE inputs (
    digest TEXT NOT NULL PRIMARY KEY, first_seq INTEGER NOT NULL, bytes BLOB NOT NULL
) STRICT;

-- Policy bundles: the files that a bundle's digest is over.
CREATE TABLE policies (
    digest TEXT NOT NULL, name TEXT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (digest, name)
) STRICT;

-- Signed checkpoints, C2SP notes.
CREATE TABLE checkpoint (size INTEGER NOT NULL PRIMARY KEY, note BLOB NOT NULL) STRICT;

-- Which bodies may be dropped, and the record that says so.
CREATE TABLE pruning (
    first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq), record TEXT NOT NULL
) STRICT;

-- Derived: columns to search by. `intent` is the number of the outcome's intent, so its index grows at its end.
CREATE TABLE entry (
    seq INTEGER NOT NULL PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, at TEXT NOT NULL,
    principal TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, intent INTEGER, decision TEXT
) STRICT;
CREATE UNIQUE INDEX entry_id ON entry (id);
CREATE UNIQUE INDEX entry_intent ON entry (intent) WHERE intent IS NOT NULL;
CREATE INDEX entry_at ON entry (at);
CREATE INDEX entry_principal ON entry (principal);
CREATE INDEX entry_action ON entry (action);
CREATE INDEX entry_resource ON entry (resource);
CREATE INDEX entry_kind ON entry (kind) WHERE kind NOT IN ('intent', 'outcome', 'access');

-- Derived: intents whose outcome is not recorded yet.
CREATE TABLE open_intent (id TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

# Witnesses' signature lines on checkpoints, since version 2. A witness signs the same size again now and then.
_COSIGNATURES = """
CREATE TABLE cosignature (
    size INTEGER NOT NULL, witness TEXT NOT NULL, at_posix_s INTEGER NOT NULL, line TEXT NOT NULL,
    PRIMARY KEY (size, witness, at_posix_s)
) STRICT, WITHOUT ROWID;
CREATE INDEX cosignature_witness ON cosignature (witness, size, at_posix_s);
"""

#: Each table that only grows, and what its rows are called for people.
_GROWING = {
    "meta": "The identity of the log",
    "leaf": "A leaf of the log",
    "node": "A node of the tree",
    "inputs": "A policy input",
    "policies": "A policy bundle",
    "checkpoint": "A checkpoint",
    "pruning": "A pruning",
    "cosignature": "A cosignature",
}

_BODY_TRIGGERS = """
CREATE TRIGGER body_update BEFORE UPDATE ON body
BEGIN SELECT RAISE(ABORT, 'A record is never changed.'); END;
CREATE TRIGGER body_delete BEFORE DELETE ON body
WHEN NOT EXISTS (SELECT 1 FROM pruning WHERE OLD.seq BETWEEN first_seq AND last_seq)
BEGIN SELECT RAISE(ABORT, 'A record is dropped only after a recorded pruning.'); END;
CREATE TRIGGER body_insert BEFORE INSERT ON body
WHEN NEW.seq <= (SELECT COALESCE(MAX(seq), -1) FROM body)
    OR NOT EXISTS (SELECT 1 FROM leaf WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'A record is added only with its leaf.'); END;
CREATE TRIGGER pruning_insert BEFORE INSERT ON pruning
WHEN NOT EXISTS (SELECT 1 FROM entry WHERE id = NEW.record)
BEGIN SELECT RAISE(ABORT, 'A pruning names the record that tells of it.'); END;
CREATE TRIGGER leaf_insert BEFORE INSERT ON leaf
WHEN NEW.seq IS NOT (SELECT COALESCE(MAX(seq) + 1, 0) FROM leaf)
BEGIN SELECT RAISE(ABORT, 'A leaf is added only at the end of the log.'); END;
"""

# INSERT OR REPLACE drops the old row without firing its delete trigger: refuse a second row under a key.
_KEYS = {
    "meta": "name = NEW.name",
    "node": "level = NEW.level AND idx = NEW.idx",
    "inputs": "digest = NEW.digest",
    "policies": "digest = NEW.digest AND name = NEW.name",
    "checkpoint": "size = NEW.size",
    "cosignature": "size = NEW.size AND witness = NEW.witness AND at_posix_s = NEW.at_posix_s",
}


def statements() -> str:
    """The SQL that makes an empty log's database."""
    return _TABLES + _COSIGNATURES + _BODY_TRIGGERS + _guards(_GROWING)


def from_version_1() -> str:
    """The SQL that brings a log's database of version 1 here, as one transaction: a kill leaves it as it was."""
    added = _COSIGNATURES + _guards(["cosignature"])
    return f"BEGIN IMMEDIATE;{added}PRAGMA user_version={SCHEMA_VERSION};COMMIT;"


def _guards(tables: Iterable[str]) -> str:
    guards = [
        f"CREATE TRIGGER {table}_{verb} BEFORE {verb.upper()} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{_GROWING[table]} is never {done}.'); END;"
        for table in tables
        for verb, done in (("update", "changed"), ("delete", "deleted"))
    ]
    guards += [
        f"CREATE TRIGGER {table}_again BEFORE INSERT ON {table} "  # noqa: S608 - from the tables above, no input
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {_KEYS[table]}) "
        f"BEGIN SELECT RAISE(ABORT, '{_GROWING[table]} is never replaced.'); END;"
        for table in tables
        if table in _KEYS
    ]
    return "\n".join(guards)
