"""The tables of the key store's file, and their version.

A key may have several versions and the KEK too, so that rotation adds rows and changes no meaning.
"""

#: "SRKS" as a big-endian number: marks the file as a key store of Strongroom.
APPLICATION_ID = 0x53524B53
#: Version of these tables. A store of another format is refused, not guessed at.
FORMAT = 1

TABLES = """
CREATE TABLE store (
    id         TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE kek (
    version      INTEGER NOT NULL PRIMARY KEY CHECK (version >= 1),
    state        TEXT NOT NULL,
    check_value  BLOB NOT NULL CHECK (length(check_value) = 32),
    created_at   TEXT NOT NULL,
    destroyed_at TEXT
) STRICT;

CREATE TABLE seal (
    id          TEXT NOT NULL PRIMARY KEY,
    kind        TEXT NOT NULL,
    kek_version INTEGER NOT NULL REFERENCES kek (version),
    parameters  TEXT NOT NULL,
    ciphertext  BLOB NOT NULL,
    created_at  TEXT NOT NULL
) STRICT;

CREATE TABLE wrapped_key (
    id              TEXT NOT NULL,
    version         INTEGER NOT NULL CHECK (version >= 1),
    kek_version     INTEGER NOT NULL REFERENCES kek (version),
    purpose         TEXT NOT NULL,
    owner           TEXT NOT NULL,
    state           TEXT NOT NULL,
    nonce           BLOB,
    ciphertext      BLOB,
    intent          TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    destroyed_at    TEXT,
    destroyed_under TEXT,
    PRIMARY KEY (id, version),
    CHECK ((state = 'destroyed') = (ciphertext IS NULL)),
    CHECK ((ciphertext IS NULL) = (nonce IS NULL)),
    CHECK ((state = 'destroyed') = (destroyed_at IS NOT NULL))
) STRICT;

CREATE INDEX wrapped_key_owner ON wrapped_key (owner, purpose, state);
"""
