//! The keys of each table of the configuration, with their types.
//!
//! Defaults and descriptions come from the reference (`docs/configuration.md`); only keys that have no row there state
//! their own. Tests compare the keys with those that the readers accept, and with the reference.

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum ValueType {
    Text,
    /// A text, or a list of texts.
    Texts,
    Flag,
    /// A whole number from 0 to 2³²−1.
    Number,
    Size,
    Duration,
    Date,
    /// One word of a closed list.
    Word(&'static [&'static str]),
    /// One word of a closed list, or a list of these.
    Words(&'static [&'static str]),
    /// A text, a whole number or a flag.
    Scalar,
    Table(&'static KeyTable),
    /// An array of tables; a single table is an array of one.
    Tables(&'static KeyTable),
    /// A table whose keys are names.
    Named(&'static ValueType),
    /// A value of one of these types, or a list of such values.
    Listed(&'static [ValueType]),
    /// A value of one of these types.
    OneOf(&'static [ValueType]),
    /// The codes of the warnings that are acknowledged.
    Allow,
}

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) value: ValueType,
    /// Description of a key that has no row in the reference.
    pub(super) description: &'static str,
}

/// A table with known keys.
#[derive(Debug)]
pub(super) struct KeyTable {
    /// Name of the definition in the schema.
    pub(super) name: &'static str,
    /// Heading of the section in the reference.
    pub(super) heading: &'static str,
    /// The key whose table it is, where the reference has rows of its own for it (`key of …`).
    pub(super) of: &'static str,
    /// Text before the names of the keys in the reference: `tls.`.
    pub(super) prefix: &'static str,
    pub(super) keys: &'static [Key],
    /// Keys that have to be there, where no row of the reference says so.
    pub(super) required: &'static [&'static str],
}

/// A key that the reference describes in a row.
const fn key(name: &'static str, value: ValueType) -> Key {
    Key { name, value, description: "" }
}

/// A key without a row in the reference.
const fn told(name: &'static str, value: ValueType, description: &'static str) -> Key {
    Key { name, value, description }
}

const fn table(name: &'static str, heading: &'static str, keys: &'static [Key]) -> KeyTable {
    KeyTable { name, heading, of: "", prefix: "", keys, required: &[] }
}

use ValueType::{
    Allow, Date, Duration, Flag, Listed, Named, Number, OneOf, Scalar, Size, Table, Tables, Text, Texts,
    Word, Words,
};

const ALLOW: Key = told("allow", Allow, "Codes of the warnings about this table that are acknowledged.");

/// The file itself.
pub(super) const ROOT: KeyTable = table(
    "file",
    "At the top",
    &[
        key("policy", Texts),
        key("include", Texts),
        key("purpose-header", Text),
        key("drain-notice", Duration),
        key("drain", Duration),
        ALLOW,
        told("deployment", Table(&DEPLOYMENT), "This gateway."),
        told("texts", Named(&LANGUAGE_TEXTS), "Sentences of the pages that people receive, by language."),
        told("listener", Tables(&LISTENER), "Public listeners."),
        told("limits", Table(&LIMITS), "Bounds of the whole process."),
        told("admin", Table(&ADMIN), "The admin API."),
        told("probes", Table(&PROBES), "A listener for load balancers and Prometheus."),
        told("ledger", Table(&LEDGER), "The ledger of consents and other events."),
        told("audit", Table(&AUDIT), "The disclosure log."),
        told("access-log", Table(&ACCESS_LOG), "The access log, which is off without this section."),
        told("keys", Table(&KEYS), "The key file."),
        told(
            "namespace",
            Named(&Table(&NAMESPACE)),
            "Rules by which ids of people and controllers are read, by namespace.",
        ),
        told("upstream", Tables(&UPSTREAM), "The APIs behind the gateway."),
        told("recipient", Tables(&RECIPIENT), "Registered recipients."),
        told("issuer", Tables(&ISSUER), "Issuers of accepted tokens."),
        told("schema", Tables(&SCHEMA), "Mappings that routes refer to."),
        told(
            "route",
            Tables(&ROUTE),
            "Routes: which requests go to which upstream, and what their answers hold.",
        ),
    ],
);

const DEPLOYMENT: KeyTable = table(
    "deployment",
    "`[deployment]`",
    &[key("exporter-region", Text), key("name", Text), key("organisation", Text), key("language", Text)],
);

/// The texts of one language: sentences by key, and tables of titles by kind of term.
const LANGUAGE_TEXTS: ValueType = Named(&OneOf(&[Text, Named(&Text)]));

const LISTENER: KeyTable = table(
    "listener",
    "`[[listener]]`",
    &[
        key("address", Text),
        key("authorities", Texts),
        key("request-timeout", Duration),
        key("max-exchanges", Number),
        key("max-exchanges-per-recipient", Number),
        key("max-connections-per-address", Number),
        key("max-requests-per-connection", Number),
        key("max-connection-age", Duration),
        key("response-timeout", Duration),
        key("min-body-rate", Size),
        key("trusted-proxies", Texts),
        key("proxy-protocol", Flag),
        told("tls", Table(&LISTENER_TLS), "TLS of the listener. Without it the listener speaks plaintext."),
        ALLOW,
    ],
);

const LIMITS: KeyTable =
    table("limits", "`[limits]`", &[key("memory", Size), key("memory-per-recipient", Size)]);

const LISTENER_TLS: KeyTable = KeyTable {
    name: "listener-tls",
    heading: "`[[listener]]`",
    of: "",
    prefix: "tls.",
    keys: &[
        key("certificate", Text),
        key("key", Text),
        key("client-ca", Text),
        key("crl", Texts),
        key("client-certificate", Word(&["optional", "required"])),
    ],
    required: &["certificate", "key"],
};

const ADMIN: KeyTable = table(
    "admin",
    "`[admin]`",
    &[
        key("address", Text),
        key("authorities", Texts),
        key("tokens", Tables(&ADMIN_TOKEN)),
        key("certificates", Tables(&ADMIN_CERTIFICATE)),
        key("rate", Table(&RATE)),
        ALLOW,
        told(
            "tls",
            Table(&ADMIN_TLS),
            "TLS of the admin listener. Without it the listener speaks plaintext.",
        ),
    ],
);

const ADMIN_TLS: KeyTable = KeyTable { name: "admin-tls", heading: "`[admin]`", ..LISTENER_TLS };

/// The roles of an actor of the admin API.
const ROLES: Key =
    told("roles", Words(&["read", "ledger", "privacy", "cases", "operator"]), "Roles of the actor.");

const ADMIN_TOKEN: KeyTable = KeyTable {
    required: &["name", "hash", "roles"],
    ..table(
        "admin-token",
        "",
        &[
            told("name", Text, "Name under which acts are recorded."),
            told("hash", Text, "`sha256:` and the SHA-256 of the whole token in 64 hexadecimal digits."),
            ROLES,
        ],
    )
};

const ADMIN_CERTIFICATE: KeyTable = KeyTable {
    required: &["name", "certificate", "roles"],
    ..table(
        "admin-certificate",
        "",
        &[
            told("name", Text, "Name under which acts are recorded."),
            told(
                "certificate",
                Text,
                "URI, DNS name or e-mail address in the subject alternative name of a client certificate.",
            ),
            ROLES,
        ],
    )
};

const PROBES: KeyTable = table("probes", "`[probes]`", &[key("address", Text)]);

const LEDGER: KeyTable = table(
    "ledger",
    "`[ledger]`",
    &[
        key("url", Text),
        key("max-staleness", Duration),
        key("migrate", Flag),
        key("password-file", Text),
        key("ca", Text),
        key("client-certificate", Text),
        key("client-key", Text),
        ALLOW,
    ],
);

const AUDIT: KeyTable = table(
    "audit",
    "`[audit]`",
    &[
        key("directory", Text),
        key("durability", Word(&["before-release", "batched"])),
        key("retention", Duration),
        key("intents", Word(&["changes", "always"])),
        key("origin", Text),
        key("index", Text),
        key("circumstances", OneOf(&[Text, Flag])),
        key("checkpoints", Tables(&CHECKPOINT_SINK)),
        key("push", Table(&RECORD_PUSH)),
        key("notice-limit", Duration),
        key("logs", Tables(&OTHER_LOG)),
        key("retired", Texts),
    ],
);

const RECORD_PUSH: KeyTable = KeyTable {
    of: "push",
    ..table(
        "record-push",
        "`[audit]`",
        &[
            key("url", Text),
            key("authorization", OneOf(&[Text, Table(&HEADER_SOURCE)])),
            key("ca", Text),
            key("subjects", Flag),
        ],
    )
};

const CHECKPOINT_SINK: KeyTable = KeyTable {
    name: "checkpoint-sink",
    heading: "`[audit]`",
    of: "",
    prefix: "checkpoints.",
    keys: &[
        told("log", Duration, "Interval at which the structured log gets the checkpoint."),
        told("file", Text, "File that has the last checkpoint, outside of the log's folder."),
        told("webhook", Text, "URL to which each checkpoint is posted."),
        told("witness", Text, "Submission prefix of a C2SP witness, which cosigns checkpoints."),
        told("key", Text, "Verifier key of the witness."),
        told("ca", Text, "PEM file with the authorities of the server's certificate."),
    ],
    required: &[],
};

const OTHER_LOG: KeyTable = KeyTable {
    name: "other-log",
    heading: "`[audit]`",
    of: "",
    prefix: "logs.",
    keys: &[
        told("path", Text, "Folder of the log of another gateway."),
        told(
            "key",
            Text,
            "Path of the key file under which the other gateway writes, if it is not this gateway's, or the log's verifier key.",
        ),
    ],
    required: &["path"],
};

const ACCESS_LOG: KeyTable =
    table("access-log", "`[access-log]`", &[key("directory", Text), key("retention", Duration)]);

const KEYS: KeyTable = table("keys", "`[keys]`", &[key("file", Text), key("pseudonym-epoch", Text)]);

/// Steps by which ids are normalised.
const STEPS: ValueType = Words(&["exact", "trim", "lowercase", "nfc"]);

const NAMESPACE: KeyTable =
    table("namespace", "`[namespace.NAME]`", &[key("normalise", STEPS), key("extract", Text)]);

const UPSTREAM: KeyTable = table(
    "upstream",
    "`[[upstream]]`",
    &[
        key("name", Text),
        key("url", Text),
        key("urls", Texts),
        key("ca", Text),
        key("client-certificate", Text),
        key("client-key", Text),
        key("server-name", Text),
        key("headers", Named(&OneOf(&[Text, Table(&HEADER_SOURCE)]))),
        key("recipient-header", Text),
        key("health", Table(&HEALTH)),
        key("backup", Flag),
        key("connect-timeout", Duration),
        key("timeout", Duration),
        key("idle-timeout", Duration),
        key("body-timeout", Duration),
        key("reuse", Flag),
        ALLOW,
    ],
);

const HEADER_SOURCE: KeyTable = table(
    "header-source",
    "",
    &[
        told("file", Text, "File with the value; one line end after it does not count."),
        told("env", Text, "Variable of the environment with the value."),
    ],
);

const HEALTH: KeyTable = KeyTable {
    prefix: "health.",
    ..table(
        "health",
        "`[[upstream]]`",
        &[
            key("path", Text),
            key("interval", Duration),
            key("timeout", Duration),
            key("expected", Listed(&[Number])),
            key("unhealthy-after", Number),
            key("healthy-after", Number),
        ],
    )
};

const RECIPIENT: KeyTable = table(
    "recipient",
    "`[[recipient]]`",
    &[
        key("name", Text),
        key("kind", Text),
        key("country", Text),
        key("region", Text),
        key("purposes", Texts),
        key("agreement", Table(&AGREEMENT)),
        key(
            "safeguard",
            Word(&["none", "adequacy", "standard-contractual-clauses", "binding-corporate-rules"]),
        ),
        key("suspended", Flag),
        key("report", Word(&["none", "counts", "paths"])),
        key("rate", Table(&RATE)),
        key("legal-name", Text),
        key("address", Text),
        key("contact", Text),
        key("notify", Table(&NOTIFY)),
        key("credentials", Tables(&CREDENTIAL)),
        ALLOW,
    ],
);

const NOTIFY: KeyTable = table(
    "notify",
    "",
    &[
        told("webhook", Text, "URL to which notices are posted (Standard Webhooks)."),
        told("secret", Table(&NOTIFY_SECRET), "The secret that signs them."),
        told(
            "ca",
            Text,
            "PEM file with the authorities of the server; the default is those that the system trusts.",
        ),
        told("feed", Flag, "`true`: the recipient reads its feed and acknowledges each notice."),
    ],
);

const NOTIFY_SECRET: KeyTable = table(
    "notify-secret",
    "",
    &[
        told("file", Text, "File with the secret: `whsec_` and 24 to 64 bytes in base64."),
        told("env", Text, "Variable of the environment with the secret."),
    ],
);

const AGREEMENT: KeyTable = table(
    "agreement",
    "",
    &[
        told("type", Text, "Type of the agreement, as the console shows it."),
        told("reference", Text, "Reference of the agreement, as the console shows it."),
        told("until", Date, "Last day of the agreement (UTC)."),
    ],
);

const RATE: KeyTable = KeyTable {
    required: &["requests"],
    ..table(
        "rate",
        "",
        &[
            told("requests", Number, "Number of requests."),
            told("per", Duration, "The time over which they are refilled; the default is `1s`."),
        ],
    )
};

const CREDENTIAL: KeyTable = table(
    "credential",
    "",
    &[
        told("api-key", Text, "`sha256:` and the SHA-256 of the whole key in 64 hexadecimal digits."),
        told(
            "certificate",
            Text,
            "URI, DNS name or e-mail address in the subject alternative name of a client certificate.",
        ),
        told("jwt", Table(&JWT), "A signed token."),
        told("purpose", Text, "The purpose that the credential is locked to."),
    ],
);

const JWT: KeyTable = KeyTable {
    name: "jwt",
    heading: "`[[recipient]]`",
    of: "jwt",
    prefix: "",
    keys: &[
        key("issuer", Text),
        key("claims", Named(&Scalar)),
        key("subject-claim", OneOf(&[Text, Table(&CLAIM)])),
        key("controller-claim", OneOf(&[Text, Table(&CLAIM)])),
        key("actor-claim", Text),
    ],
    required: &[],
};

const CLAIM: KeyTable = KeyTable {
    required: &["claim"],
    ..table(
        "claim",
        "",
        &[
            told("claim", Text, "Name of the claim."),
            told("namespace", Text, "Namespace of the id that the claim holds."),
        ],
    )
};

const ISSUER: KeyTable = table(
    "issuer",
    "`[[issuer]]`",
    &[
        key("url", Text),
        key("audience", Text),
        key("keys", Text),
        key("jwks-uri", Text),
        key("ca", Text),
        key("jwks-refresh", Duration),
        key("jwks-lifetime", Duration),
    ],
);

/// A subject or a controller: a path, a table with `path`, or a list of these.
const IDS: ValueType = Listed(&[Text, Table(&ID_SOURCE)]);

const ID_SOURCE: KeyTable = KeyTable {
    required: &["path"],
    ..table(
        "id-source",
        "",
        &[
            told("path", Text, "Path of the id, or `{parameter}` of the route's path."),
            told("namespace", Text, "Namespace of the id."),
            told("normalise", STEPS, "A short form of `normalise` of the namespace."),
            told("optional", Flag, "True if records often name nobody there."),
        ],
    )
};

/// A field: a category, a list of categories, or a table.
const FIELDS: ValueType = Named(&OneOf(&[Texts, Table(&FIELD)]));

const FIELD: KeyTable = KeyTable {
    required: &["category"],
    ..table(
        "field",
        "",
        &[
            told("category", Texts, "A data category, or several of which all must be permitted."),
            told("embedded", Word(&["json"]), "The field is a text that holds JSON."),
        ],
    )
};

const FACTS: KeyTable = table(
    "facts",
    "",
    &[
        told("country", Text, "Path of the country of residence."),
        told("region", Text, "Path of the region of residence."),
        told("birth-date", Text, "Path of the date of birth."),
        told("account-closed", Text, "Path of the time at which the account was closed."),
        told("origin", Text, "Path of the origin of the data."),
        told("created", Text, "Path of the time at which the record was created."),
    ],
);

const COLUMNS: KeyTable = KeyTable {
    required: &["path", "names"],
    ..table(
        "columns",
        "",
        &[
            told("path", Text, "Path of the header."),
            told("names", Texts, "Names of all columns, in the order of the header."),
        ],
    )
};

const TABLE_OF_ROWS: Key =
    told("columns", Table(&COLUMNS), "Names the elements of rows by the header of their table.");

const SCHEMA: KeyTable = KeyTable {
    required: &["name"],
    ..table(
        "schema",
        "",
        &[
            told("name", Text, "Name by which routes refer to the schema."),
            told("subject", IDS, "Whose record it is."),
            told("controller", IDS, "For service data: whose customer it is."),
            told("fields", FIELDS, "Data categories by path."),
            told("facts", Table(&FACTS), "Paths of facts about the person or the account."),
            TABLE_OF_ROWS,
            ALLOW,
        ],
    )
};

const RECORDS: KeyTable = table(
    "records",
    "",
    &[
        told("path", Text, "Each match is one record."),
        told("schema", Text, "A `[[schema]]` that the record set begins with."),
        told("subject", IDS, "Whose record it is."),
        told("controller", IDS, "For service data: whose customer it is."),
        told("fields", FIELDS, "Data categories by path."),
        told("facts", Table(&FACTS), "Paths of facts about the person or the account."),
        TABLE_OF_ROWS,
    ],
);

const CORS: KeyTable = KeyTable {
    required: &["origins"],
    ..table("cors", "", &[told("origins", Texts, "Origins whose web pages may ask.")])
};

/// A parameter: categories for any value, or a table with the values that pass.
const QUERY: ValueType = Named(&OneOf(&[Texts, Table(&PARAMETER)]));

const PARAMETER: KeyTable = KeyTable {
    required: &["values"],
    ..table(
        "parameter",
        "",
        &[told("values", Named(&Texts), "The values that pass, each with its categories.")],
    )
};

/// A member of an error: a category, or a table.
const ERRORS: ValueType = Named(&OneOf(&[Texts, Table(&ERROR_MEMBER)]));

const ERROR_MEMBER: KeyTable = KeyTable {
    required: &["category"],
    ..table(
        "error-member",
        "",
        &[
            told("category", Texts, "A data category that is about nobody, such as `non-personal`."),
            told("codes", Texts, "Codes that pass beside those of known words."),
        ],
    )
};

const ROUTE: KeyTable = table(
    "route",
    "`[[route]]`",
    &[
        key("name", Text),
        key("upstream", Text),
        key("path", Text),
        key("methods", Words(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])),
        key("policy", Texts),
        key("purposes", Texts),
        key("operation", Word(&["disclose", "collect", "alter", "destroy"])),
        key("schema", Text),
        key("record", Text),
        key("subject", IDS),
        key("controller", IDS),
        key("fields", FIELDS),
        key("facts", Table(&FACTS)),
        told("records", Tables(&RECORDS), "More record sets, each with its own mapping."),
        TABLE_OF_ROWS,
        key("body", Texts),
        key("errors", ERRORS),
        key("query", QUERY),
        key("request-headers", Texts),
        key("request-body", Flag),
        key("cors", Table(&CORS)),
        key("unknown-subject", Word(&["withhold", "no-facts"])),
        key("unclassified", Word(&["remove", "release"])),
        key("withheld", Word(&["strip", "deny"])),
        key("max-deny-body", Size),
        key("removed-as", Word(&["omit", "null", "empty"])),
        key("duplicate-keys", Word(&["refuse", "treat-alike"])),
        key("redaction", Word(&["silent", "rfc9537"])),
        key("redact", Texts),
        key("withhold-echoes", Flag),
        key("max-record", Size),
        key("max-request-body", Size),
        key("events", Texts),
        key("answer-headers", Texts),
        key("media-types", Texts),
        key("framing", Word(&["lines", "csv"])),
        key("stale", Word(&["stop", "contract"])),
        key("stale-for", Duration),
        key("mode", Word(&["enforce", "observe"])),
        key("observe-until", Date),
        key("forward-purpose", Flag),
        key("forward-credential", Flag),
        key("no-transform", Word(&["refuse", "ignore"])),
        key("hide-existence", Flag),
        key("personal", Flag),
        ALLOW,
    ],
);
