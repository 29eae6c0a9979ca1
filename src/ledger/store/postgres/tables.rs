//! The tables of the schema `purposegate`, and the versions of the schema.
//!
//! The columns of `events` have the same content as those of the same names in a SQLite file.

/// The version of the schema that this program creates and needs.
///
/// Each version says from which version of the schema a program may be to use it (`ledger_head.compatible_from`). A
/// version that only adds tables, or columns with a default, leaves that number as it is, so that gateways of the earlier
/// program go on while others are being upgraded. A program checks the number whenever it reads or writes the head.
pub(super) const VERSION: i32 = 4;

/// The number of partitions of `events`.
pub(super) const PARTITIONS: usize = 16;

/// A step from one version of the schema to the next.
pub(super) struct SchemaStep {
    /// The version that the step creates.
    pub(super) version: i32,
    /// The earliest version that a program may know to use the new one.
    pub(super) compatible_from: i32,
    /// The statements of the step.
    pub(super) statements: &'static str,
}

/// All steps, ordered by version.
pub(super) const STEPS: &[SchemaStep] = &[
    SchemaStep { version: 1, compatible_from: 1, statements: FIRST },
    // A program of the first version would append events without making log secrets, and cannot read their deletion.
    SchemaStep { version: 2, compatible_from: 2, statements: SECOND },
    SchemaStep { version: 3, compatible_from: 2, statements: THIRD },
    SchemaStep { version: 4, compatible_from: 2, statements: FOURTH },
];

/// Creates the tables of the first version. The collation "C" orders ids by their bytes, as SQLite does, and does not
/// change with the libraries of the server's system.
const FIRST: &str = r#"
CREATE TABLE purposegate.ledger (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    key_check bytea NOT NULL,                        -- proves that a program has the keys of the ledger
    version integer NOT NULL
);
CREATE TABLE purposegate.ledger_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL,                        -- the next event gets the position after this one
    last_event_position bigint NOT NULL,             -- earlier than position after a loss of events; 0 without events
    last_event_id text COLLATE "C",
    lost bigint,                                     -- last position of a loss that nobody has accepted yet
    compatible_from integer NOT NULL
) WITH (fillfactor = 10);
CREATE TABLE purposegate.events (
    sort smallint NOT NULL,                          -- 0 data subject, 1 controller, 2 recipient, 3 case
    namespace text COLLATE "C" NOT NULL,             -- '' is the default namespace
    id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    recorded text COLLATE "C" NOT NULL,
    event text NOT NULL,
    once bytea,                                      -- idempotency key
    asked bytea,                                     -- digest of the request under that key
    PRIMARY KEY (sort, namespace, id, position)
) PARTITION BY HASH (sort, namespace, id);
DO $$ BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE purposegate.events_%s PARTITION OF purposegate.events
                        FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
        EXECUTE format('CREATE UNIQUE INDEX events_%s_position ON purposegate.events_%s (position)', part, part);
    END LOOP;
END $$;
CREATE TABLE purposegate.event_keys (
    once bytea PRIMARY KEY,
    position bigint NOT NULL
);
CREATE TABLE purposegate.recipients (
    name text COLLATE "C" PRIMARY KEY                -- each recipient that an event names or is about
);
CREATE TABLE purposegate.losses (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    behind bigint NOT NULL,                          -- last position before the loss
    until bigint NOT NULL,                           -- last position that is lost, or that of the report
    reported text NOT NULL,
    accepted text                                    -- NULL while nobody has accepted the loss
);
CREATE TABLE purposegate.gateways (
    instance text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    version text NOT NULL,
    namespaces bytea NOT NULL,
    recipients text[] NOT NULL,
    pack_titles text[] NOT NULL,
    pack_revisions text[] NOT NULL,
    lease_ms bigint NOT NULL,
    longest_lease_ms bigint NOT NULL,                -- the longest that this process registered
    applied bigint NOT NULL,
    renewals bigint NOT NULL,                        -- 0: it never had a lease
    renewed timestamptz NOT NULL                     -- information only: others measure leases by their own clocks
);
CREATE TABLE purposegate.servers (
    system_identifier text NOT NULL,
    timeline text NOT NULL,                          -- a failover and a restore begin a new one
    first_seen text NOT NULL,
    settled boolean NOT NULL,                        -- no lease from before it can last any more
    PRIMARY KEY (system_identifier, timeline)
);
CREATE TABLE purposegate.policy_versions (
    digest bytea PRIMARY KEY,
    first_seen text NOT NULL,
    texts text                                       -- only of versions at a place
);
CREATE TABLE purposegate.policy_places (
    place text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    effective text NOT NULL,
    loaded text NOT NULL,
    PRIMARY KEY (place, digest)
);
"#;

/// Adds the log secrets and the notices, and makes a secret for each person who has events. Of the 128 bits of a random UUID, 122 are random.
const SECOND: &str = "
CREATE TABLE purposegate.log_secrets (
    namespace text COLLATE \"C\" NOT NULL,
    id text COLLATE \"C\" NOT NULL,
    secret bytea NOT NULL,
    since bigint NOT NULL,                           -- position of the event that made it
    PRIMARY KEY (namespace, id)
);
INSERT INTO purposegate.log_secrets (namespace, id, secret, since)
SELECT namespace, id, uuid_send(gen_random_uuid()), min(position)
FROM purposegate.events WHERE sort = 0 GROUP BY namespace, id;
CREATE TABLE purposegate.notices (
    id text COLLATE \"C\" PRIMARY KEY,
    inquiry text COLLATE \"C\" NOT NULL,
    recipient text COLLATE \"C\" NOT NULL,           -- '' for an inquiry
    due bigint NOT NULL,                             -- in milliseconds
    is_open boolean NOT NULL,
    version bigint NOT NULL,
    state text NOT NULL
);
CREATE INDEX notices_due ON purposegate.notices (due) WHERE is_open;
CREATE INDEX notices_inquiry ON purposegate.notices (inquiry);
CREATE INDEX notices_recipient ON purposegate.notices (recipient, id);
";

/// Makes the id of the ledger.
const THIRD: &str = "
ALTER TABLE purposegate.ledger ADD COLUMN IF NOT EXISTS
    id bytea NOT NULL DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex');
";

/// Adds the marks of deletions whose rows may still be in the files of their tables: the transaction, and the file then. Of
/// earlier deletions nothing is known, so both tables of a ledger with events are marked.
const FOURTH: &str = "
ALTER TABLE purposegate.ledger
    ADD COLUMN IF NOT EXISTS log_secrets_deleted bigint[],
    ADD COLUMN IF NOT EXISTS notices_deleted bigint[];
UPDATE purposegate.ledger SET
    log_secrets_deleted = ARRAY[0, pg_relation_filenode('purposegate.log_secrets')::bigint],
    notices_deleted = ARRAY[0, pg_relation_filenode('purposegate.notices')::bigint]
WHERE EXISTS (SELECT FROM purposegate.events);
";

/// A table as the catalogue has to describe it.
pub(super) struct TableShape {
    /// Name of the table.
    pub(super) name: &'static str,
    /// The privileges that the program needs on the table.
    pub(super) privileges: &'static str,
    /// Each column: name, type and `NOT NULL`.
    pub(super) columns: &'static [(&'static str, &'static str, bool)],
    /// Columns of each unique index.
    pub(super) unique: &'static [&'static str],
}

/// The tables of [`VERSION`].
pub(super) const TABLES: &[TableShape] = &[
    TableShape {
        name: "ledger",
        privileges: "SELECT, UPDATE",
        columns: &[
            ("one", "boolean", true),
            ("key_check", "bytea", true),
            ("version", "integer", true),
            ("id", "bytea", true),
            ("log_secrets_deleted", "bigint[]", false),
            ("notices_deleted", "bigint[]", false),
        ],
        unique: &["one"],
    },
    TableShape {
        name: "ledger_head",
        privileges: "SELECT, UPDATE",
        columns: &[
            ("one", "boolean", true),
            ("position", "bigint", true),
            ("last_event_position", "bigint", true),
            ("last_event_id", "text", false),
            ("lost", "bigint", false),
            ("compatible_from", "integer", true),
        ],
        unique: &["one"],
    },
    TableShape {
        name: "events",
        privileges: "SELECT, INSERT",
        columns: EVENT_COLUMNS,
        unique: &["sort, namespace, id, position"],
    },
    TableShape {
        name: "event_keys",
        privileges: "SELECT, INSERT",
        columns: &[("once", "bytea", true), ("position", "bigint", true)],
        unique: &["once"],
    },
    TableShape {
        name: "log_secrets",
        privileges: "SELECT, INSERT, DELETE",
        columns: &[
            ("namespace", "text", true),
            ("id", "text", true),
            ("secret", "bytea", true),
            ("since", "bigint", true),
        ],
        unique: &["namespace, id"],
    },
    TableShape {
        name: "notices",
        privileges: "SELECT, INSERT, UPDATE, DELETE",
        columns: &[
            ("id", "text", true),
            ("inquiry", "text", true),
            ("recipient", "text", true),
            ("due", "bigint", true),
            ("is_open", "boolean", true),
            ("version", "bigint", true),
            ("state", "text", true),
        ],
        unique: &["id"],
    },
    TableShape {
        name: "recipients",
        privileges: "SELECT, INSERT",
        columns: &[("name", "text", true)],
        unique: &["name"],
    },
    TableShape {
        name: "losses",
        privileges: "SELECT, INSERT, UPDATE",
        columns: &[
            ("number", "bigint", true),
            ("behind", "bigint", true),
            ("until", "bigint", true),
            ("reported", "text", true),
            ("accepted", "text", false),
        ],
        unique: &["number"],
    },
    TableShape {
        name: "gateways",
        privileges: "SELECT, INSERT, UPDATE, DELETE",
        columns: &[
            ("instance", "text", true),
            ("name", "text", true),
            ("version", "text", true),
            ("namespaces", "bytea", true),
            ("recipients", "text[]", true),
            ("pack_titles", "text[]", true),
            ("pack_revisions", "text[]", true),
            ("lease_ms", "bigint", true),
            ("longest_lease_ms", "bigint", true),
            ("applied", "bigint", true),
            ("renewals", "bigint", true),
            ("renewed", "timestamp with time zone", true),
        ],
        unique: &["instance"],
    },
    TableShape {
        name: "servers",
        privileges: "SELECT, INSERT, UPDATE",
        columns: &[
            ("system_identifier", "text", true),
            ("timeline", "text", true),
            ("first_seen", "text", true),
            ("settled", "boolean", true),
        ],
        unique: &["system_identifier, timeline"],
    },
    TableShape {
        name: "policy_versions",
        privileges: "SELECT, INSERT, UPDATE",
        columns: &[("digest", "bytea", true), ("first_seen", "text", true), ("texts", "text", false)],
        unique: &["digest"],
    },
    TableShape {
        name: "policy_places",
        privileges: "SELECT, INSERT, DELETE",
        columns: &[
            ("place", "text", true),
            ("digest", "bytea", true),
            ("effective", "text", true),
            ("loaded", "text", true),
        ],
        unique: &["place, digest"],
    },
];

/// Columns of `events` and of each of its partitions.
pub(super) const EVENT_COLUMNS: &[(&str, &str, bool)] = &[
    ("sort", "smallint", true),
    ("namespace", "text", true),
    ("id", "text", true),
    ("position", "bigint", true),
    ("event_id", "text", true),
    ("recorded", "text", true),
    ("event", "text", true),
    ("once", "bytea", false),
    ("asked", "bytea", false),
];

/// Columns of each unique index of a partition of `events`.
pub(super) const PARTITION_UNIQUE: &[&str] = &["sort, namespace, id, position", "position"];
