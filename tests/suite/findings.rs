//! Errors that `check` finds: every mistake, once, with its location and a hint.

use std::path::Path;

use miette::{GraphicalReportHandler, GraphicalTheme};
use purposegate::config;
use purposegate::finding::Finding;
use tempfile::TempDir;

use crate::gateway::pack;

/// A configuration without mistakes, to which tests add some.
pub(crate) const SOUND: &str = r#"
[listener]
address = "127.0.0.1:0"
[[upstream]]
name = "crm"
url = "http://127.0.0.1:9000"
[[recipient]]
name = "support"
kind = "employee"
country = "DE"
purposes = ["customer-support"]
credentials = [{ certificate = "spiffe://test/support" }]
"#;

/// A field for [`ROUTE`].
pub(crate) const FIELDS: &str = "fields = { \"@.id\" = \"subject-identifier\" }\n";

pub(crate) const ROUTE: &str = r#"
[[route]]
name = "customers"
upstream = "crm"
path = "/customers"
record = "$.items[*]"
subject = "@.id"
"#;

/// Creates a folder with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    folder
}

/// Renders findings as `check` does, without the machine's paths.
pub(crate) fn rendered(findings: &[Finding], folder: &Path) -> String {
    // Wide enough that wrapping does not depend on the length of the folder's name.
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(1000);
    let mut text = String::new();
    for finding in findings {
        handler.render_report(&mut text, finding).unwrap();
        text.push('\n');
    }
    let text = text.replace(&folder.display().to_string(), "[folder]");
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Loads the sound configuration with this text added. Returns true if it loads, the findings, and its folder.
pub(crate) fn check_with(added: &str) -> (bool, Vec<Finding>, TempDir) {
    let top = format!("policy = {:?}\n", pack("one-partner-360").display().to_string());
    let folder = folder(&[("purposegate.toml", &format!("{top}{SOUND}{added}"))]);
    let (config, findings) = config::load(&folder.path().join("purposegate.toml"));
    (config.is_some(), findings, folder)
}

const MANY_MISTAKES: &str = r#"policy = "pack"
drain = "soon"
include = ["routes/*.toml"]

[listner]
address = "127.0.0.1:0"

[[listener]]
address = "0.0.0.0:8443"
[listener.tls]
certificate = "certs/server.pem"
key = "certs/server.key"

[[upstream]]
name = "crm"
url = "http://127.0.0.1:9000"

[[recipient]]
name = "support"
kind = "employee"
purposes = ["custmer-support"]
credentials = [{ api-key = "sha256:beef" }, { jwt = { issuer = "https://idp.example" } }]

[[route]]
name = "customers"
upstream = "cmr"
path = "/customers"
record = "$.items[*"
subject = "@.id"
[route.fields]
"@.email" = "emial"
"@.notes" = []
"@.phone" = "phone"

[[route]]
name = "invoices"
upstream = "crm"
path = "/invoices"
record = "$.items[*]"
schema = "invoice"

[[route]]
name = "one-invoice"
upstream = "crm"
path = "/invoices/{id}"

[[route]]
name = "any-invoice"
upstream = "crm"
path = "/invoices/{number}"
schema = "invoce"
"#;

/// An included file.
const INVOICES: &str = r#"[[schema]]
name = "invoice"
subject = "@.customer"
[schema.fields]
"@.lines" = "billing"
"@.address.[street" = "postal-address"
"#;

pub(crate) const PACK: &str = r#"title = "A pack"
version = "1"
announced = 2026-01-05
effective = 2026-01-05
contact = "Data Protection Officer"

[bases]
contract = "Needed for what the person asked for"

[[clauses]]
id = "A-1"
title = "Support helps"
kept = "by-rules"
"#;

pub(crate) const RULES: &str = r#"@id("support-helps")
@clause("A-1")
@basis("contract")
permit (principal, action in Action::"costumer-support", resource)
when { resource in Category::"personal" };

@id("baseless")
@clause("A-1")
permit (principal, action in Action::"customer-support", resource)
when { resource in Category::"published" };
"#;

#[test]
fn one_run_reports_every_mistake() {
    let folder = folder(&[
        ("purposegate.toml", MANY_MISTAKES),
        ("routes/invoices.toml", INVOICES),
        ("pack/pack.toml", PACK),
        ("pack/rules.cedar", RULES),
    ]);
    let (config, findings) = config::load(&folder.path().join("purposegate.toml"));
    assert!(config.is_none());
    insta::assert_snapshot!(rendered(&findings, folder.path()));
}

/// Mistakes in a configuration, each with a part of the message and of the hint of its only finding.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "[deployment]\nexporter-regoin = \"EEA\"",
        "unknown key `exporter-regoin`",
        "did you mean `exporter-region`?",
    ),
    ("[deployment]\nexporter-region = 1", "`exporter-region` must be a text", "quotation marks"),
    ("[deployment]\nname = \"gateway 1\"", "this is not the name of a gateway", "letters, digits"),
    ("[deployment]\nname = \"\"", "this is not the name of a gateway", "letters, digits"),
    ("[admin]\naddress = \"0.0.0.0:9901\"", "the admin listener needs TLS and actors", "127.0.0.1"),
    (
        "[admin]\naddress = \"0.0.0.0:9901\"\ntokens = [{ name = \"a\", hash = \"HASH\", roles = [\"read\"] }]",
        "the admin listener needs TLS and actors",
        "`tls.certificate`",
    ),
    (
        "[admin]\nauthorities = [\"https://x.example\"]",
        "`https://x.example` is not a host name",
        "without scheme",
    ),
    (
        "[admin]\ntokens = [{ name = \"a\", hash = \"sha256:12\", roles = [\"read\"] }]",
        "this is not the hash of a token",
        "admin token NAME",
    ),
    (
        "[admin]\ntokens = [{ name = \"a\", hash = \"HASH\", roles = [\"legder\"] }]",
        "`roles` cannot be `legder`",
        "did you mean `ledger`?",
    ),
    ("[admin]\ntokens = [{ name = \"a\", hash = \"HASH\" }]", "this actor has no role", "`operator`"),
    (
        "[admin]\ntokens = [{ name = \"änne\", hash = \"HASH\", roles = [\"read\"] }]",
        "this is not the name of an actor",
        "look alike",
    ),
    (
        "[admin]\ntokens = [{ name = \"ada a\", hash = \"HASH\", roles = [\"read\"] }, { name = \"Ada.A\", hash = \"OTHER\", roles = [\"read\"] }]",
        "there are two actors with the name `Ada.A`",
        "case and punctuation",
    ),
    (
        "[admin]\ntokens = [{ name = \"a\", hash = \"HASH\", roles = [\"read\"] }, { name = \"b\", hash = \"HASH\", roles = [\"read\"] }]",
        "this credential is registered twice",
        "one actor",
    ),
    (
        "[admin]\ncertificates = [{ name = \"a\", certificate = \"spiffe://x/a\", roles = [\"read\"] }]",
        "`[admin]` has no `tls.client-ca`",
        "",
    ),
    ("[admin]\nrate = { requests = 0 }", "this is not a rate", "requests = 100"),
    (
        "[admin]\ntokens = [{ name = \"a\", hash = \"HASH\", roles = [\"read\"] }]\n[[recipient]]\nname = \"x\"\nkind = \"employee\"\ncredentials = [{ api-key = \"HASH\" }]",
        "this is the hash of a recipient's API key",
        "a token of its own",
    ),
    ("[admin]\naddress = \"localhost\"", "this is not an address", "IP address and a port"),
    ("[ledger]\nurl = \"mysql://db/ledger\"", "not a ledger that this version can open", "sqlite:"),
    ("[ledger]\nmax-staleness = 2", "`max-staleness` must be a duration", "500ms"),
    ("[ledger]\nmax-staleness = \"400ms\"", "not between 500 ms and 30 s", "stops releasing"),
    ("[ledger]\nmax-staleness = \"31s\"", "not between 500 ms and 30 s", "stops releasing"),
    ("[ledger]\nmigrate = \"no\"", "`migrate` must be a flag", "without quotation marks"),
    ("[ledger]\nca = \"ca.pem\"", "`ca` has no effect on an embedded ledger", "take it out"),
    (
        "[audit]\nlogs = [{ path = \"data\" }]",
        "are the same, or one is in the other",
        "`directory` is the log of this gateway",
    ),
    (
        "[audit]\nlogs = [{ path = \"b\" }, { path = \"c\" }, { path = \"c/../b/\" }]",
        "are the same, or one is in the other",
        "each once",
    ),
    ("[audit]\nlogs = [{ path = \"b\", key = \"none\" }]", "there is no file", "the key file"),
    ("[audit]\nintents = \"never\"", "`intents` cannot be `never`", "one of `changes`, `always`"),
    ("[audit]\norigin = \"gateway 1\"", "this is not the origin of a log", "without spaces"),
    ("[audit]\nindex = \"data/audit/index\"", "one is in the other", "a folder beside it"),
    (
        "[audit]\ncircumstances = \"data/audit/counts\"",
        "that of the log or its index are the same, or one is in the other",
        "a folder of its own",
    ),
    (
        "[audit]\nlogs = [{ path = \"b\" }]\ncircumstances = \"b\"",
        "that of the log of another gateway are the same",
        "a folder of its own",
    ),
    (
        "[audit]\nlogs = [{ path = \"data/audit-circumstances/b\" }]",
        "that of the log of another gateway are the same",
        "a folder of its own",
    ),
    (
        "[audit]\ncircumstances = \"state\"\n[ledger]\nurl = \"sqlite:state/ledger.db\"",
        "that of the ledger are the same",
        "a folder of its own",
    ),
    (
        "[access-log]\ndirectory = \"data/audit-circumstances\"",
        "that of the access log are the same",
        "a folder of its own",
    ),
    ("[audit]\nnotice-limit = \"1h\"", "not between 1 and 90 days", "waits for a person"),
    ("[audit]\ncheckpoints = [{}]", "a sink has one of `log`", "an entry of `checkpoints` for each"),
    ("[audit]\ncheckpoints = [{ log = \"1m\", file = \"c\" }]", "a sink has one of `log`", "for each"),
    ("[audit]\ncheckpoints = [{ log = \"2d\" }]", "not between 1 s and 24 h", "`1m`"),
    ("[audit]\ncheckpoints = [{ file = \"data/audit/c\" }]", "inside the log's folder", "keep it elsewhere"),
    ("[audit]\ncheckpoints = [{ webhook = \"http://example.org\" }]", "sent without TLS", "`https://…`"),
    ("[audit]\ncheckpoints = [{ witness = \"https://w.example\" }]", "needs `key`", "`name+id+base64`"),
    (
        "[audit]\ncheckpoints = [{ witness = \"https://w.example\", key = \"k\" }]",
        "not the verifier key of a witness",
        "`name+id+base64`",
    ),
    ("[audit]\ncheckpoints = [{ file = \"c\", key = \"k\" }]", "verifier key of a witness", "take it out"),
    ("[audit]\ncheckpoints = [{ file = \"c\", ca = \"k\" }]", "for a webhook or a witness", "take it out"),
    ("[audit]\nlogs = [{ folder = \"b\", path = \"c\" }]", "unknown key `folder`", "path"),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\npersonal = false\nallow = [\"route-not-personal\"]\n\
         errors = { \"$.code\" = \"non-personal\" }",
        "route `r` is not personal: its errors pass through unread",
        "take out `errors`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n\
         hide-existence = true\nwithheld = \"deny\"\nerrors = { \"$.code\" = \"non-personal\" }",
        "members of errors can say what route `r` hides",
        "`already_exists` tells",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n\
         errors = { \"$.detail\" = [\"non-personal\", \"email\"] }",
        "`email` of an error never leaves",
        "`non-personal`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n\
         errors = { \"$.errors[?@.field == 'a'].code\" = \"non-personal\" }",
        "selects by a condition",
        "`$.errors[*].field`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n\
         errors = { \"$.errors[0].code\" = \"non-personal\" }",
        "selects by a condition",
        "names, `*` and `..`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n\
         errors = { \"errors.code\" = \"non-personal\" }",
        "`errors.code` cannot be used",
        "paths of `errors` are RFC 9535",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n\
         errors = { \"$.code\" = { codes = [\"a\"] } }",
        "a member of an error has no `category`",
        "",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n\
         errors = { \"$.code\" = { category = \"non-personal\", values = [\"a\"] } }",
        "unknown key `values` in a member of an error",
        "`codes`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n\
         errors = { \"$.errors['a', 0]\" = \"non-personal\" }",
        "selects by a condition",
        "names, `*` and `..`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n\
         errors = { \"$['a', 1:2]\" = \"non-personal\" }",
        "selects by a condition",
        "names, `*` and `..`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n\
         errors = { \"$.code\" = { category = \"non-personal\", codes = [\"Jane Doe\"] } }",
        "`Jane Doe` is no code",
        "up to 40 letters and digits",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"",
        "nothing says whose `body` this is",
        "`subject = \"{id}\"`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = [\"{id}\", \"@.id\"]",
        "`@.id` is in a body that is not read",
        "only the path can name a person",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         controller = \"$.account\"",
        "`$.account` is in a body that is not read",
        "only the path can name a person",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"phot\"\nsubject = \"{id}\"",
        "there is no data category `phot`",
        "`photo`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         methods = [\"GET\", \"PUT\"]",
        "`PUT` has no `body` that is one field",
        "a route of their own",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         answer-headers = [\"content-location\"]",
        "`content-location` can tell about the file",
        "named after them",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         answer-headers = [\"Link\"]",
        "`Link` can tell about the file",
        "named after them",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         answer-headers = [\"location\"]",
        "`location` can tell about the file",
        "named after them",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         answer-headers = [\"Last-Modified\"]",
        "`Last-Modified` can tell about the file",
        "named after them",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         answer-headers = [\"Content-Disposition\"]",
        "`Content-Disposition` can tell about the file",
        "named after them",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         withheld = \"strip\"",
        "`withheld` has no meaning beside `body`",
        "take out this key, or `body`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         unknown-subject = \"no-facts\"",
        "needs more than `{id}`, which the recipient spells",
        "",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         fields = { \"@.name\" = \"name\" }",
        "`fields` has no meaning beside `body`",
        "the whole body is one field",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n\
         framing = \"csv\"",
        "`framing` has no meaning beside `body`",
        "the whole body is one field",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\n\
         fields = { \"@.name\" = \"name\" }\nstale = \"consent\"",
        "`stale` cannot be `consent`",
        "one of `stop`, `contract`",
    ),
    (
        "[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\nsubject = \"@.id\"\n\
         fields = { \"@.name\" = \"name\" }\nstale = \"contract\"\nstale-for = \"25h\"",
        "`stale-for` must be at most a day",
        "after a day without the ledger",
    ),
    (
        "[audit]\ndurability = \"never\"",
        "`durability` cannot be `never`",
        "one of `before-release`, `batched`",
    ),
    ("[audit]\ndurability = \"bached\"", "`durability` cannot be `bached`", "did you mean `batched`?"),
    (
        "[[upstream]]\nname = \"crm\"\nurl = \"http://127.0.0.1:1\"",
        "two upstreams with the name `crm`",
        "names are how",
    ),
    (
        // The route that refers to it does not cause a second finding.
        "[[upstream]]\nname = \"api\"\nurl = \"127.0.0.1:1\"\n\
         [[route]]\nname = \"r\"\nupstream = \"api\"\npath = \"/r\"",
        "not the URL of an upstream",
        "https://host:port",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"partner\"",
        "there is no recipient kind `partner`",
        "did you mean `marketing-partner`",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"staff\"",
        "there is no recipient kind `staff`",
        "`staff` is a group for rules; this needs one recipient kind: `employee`, `contractor`",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"employee\"\npurposes = [\"Customer-Support\"]",
        "there is no purpose `Customer-Support`",
        "did you mean `customer-support`?",
    ),
    (
        "[[upstream]]\nname = \"tls\"\nurl = \"tls://127.0.0.1:1\"",
        "not the URL of an upstream",
        "https://host:port",
    ),
    ("[[upstream]]\nurl = \"http://127.0.0.1:1\"", "an upstream has no `name`", ""),
    ("[[recipient]]\nname = \"support\"\nkind = \"employee\"", "two recipients with the name `support`", ""),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"employe\"",
        "there is no recipient kind `employe`",
        "did you mean `employee`?",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"employee\"\ncredentials = [{ jwt = { issuer = \"https://id.example\", claims = { azp = \"x\" } } }]",
        "there is no issuer `https://id.example`",
        "add `[[issuer]]`",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"employee\"\ncredentials = [{ jwt = { issuer = \"https://id.test\", claims = {} } }]",
        "every token of this issuer would name this recipient",
        "add `claims",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"data-subject\"\ncredentials = [{ certificate = \"x\" }]",
        "a data subject is named by a signed token alone",
        "subject-claim",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"customer-administrator\"\ncredentials = [{ jwt = { issuer = \"https://id.test\", claims = { azp = \"x\" } } }]",
        "tokens of this kind of recipient need a `controller-claim`",
        "says who it is",
    ),
    ("[[issuer]]\nurl = \"https://id.example\"\nkeys = \"nowhere.json\"", "an issuer has no `audience`", ""),
    (
        "[[issuer]]\nurl = \"https://id.example\"\naudience = \"us\"\nkeys = \"purposegate.toml\"",
        "not a JSON Web Key Set",
        "jwks_uri",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"employee\"\ncredentials = [{}]",
        "a credential is one of `api-key`, `certificate` and `jwt`",
        "one table for each",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"employee\"\ncredentials = [{ api-key = \"pgk_secret\" }]",
        "this is not the hash of an API key",
        "recipient key NAME",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"employee\"\ncredentials = [{ certificate = \"a\" }]\n\
         [[recipient]]\nname = \"y\"\nkind = \"employee\"\ncredentials = [{ certificate = \"a\" }]",
        "this credential is registered twice",
        "names one recipient",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"employee\"\nagreement = { until = \"Easter\" }",
        "`until` must be a date",
        "2027-06-30",
    ),
    (
        "[[route]]\nname = \"p\"\nupstream = \"crm\"\npath = \"/p\"\npolicy = \"PERSPECTIUM\"\n\
         [access-log]\ndirectory = \"logs\"\nretention = \"16d\"",
        "the access log is kept for 16 days",
        "write `retention = \"15d\"`",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"data-subject\"\nnotify = { feed = true }",
        "each caller of this recipient is another person or account",
        "access report",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"customer-administrator\"\nnotify = { webhook = \"https://x.example/\" }",
        "each caller of this recipient is another person or account",
        "leave `notify` out",
    ),
    (
        "[[recipient]]\nname = \"x\"\nkind = \"employee\"\nrate = { requests = 0 }",
        "this is not a rate",
        "requests = 100",
    ),
];

#[test]
fn each_mistake_yields_one_finding() {
    let signer = crate::token_issuer::Issuer::new();
    let issuer = signer.section();
    for (mistake, message, hint) in MISTAKES {
        let mistake = mistake
            .replace("[admin]\ntokens", "[admin]\nallow = [\"plaintext-admin-tokens\"]\ntokens")
            .replace("PERSPECTIUM", &pack("perspectium").display().to_string())
            .replace("HASH", &format!("sha256:{}", "1".repeat(64)))
            .replace("OTHER", &format!("sha256:{}", "2".repeat(64)));
        let (loads, findings, folder) = check_with(&format!("{ROUTE}{issuer}{mistake}\n"));
        let text = rendered(&findings, folder.path());
        assert!(!loads, "{mistake}");
        // An acknowledged warning is listed, too.
        let allowed = ["plaintext-admin-tokens", "route-not-personal"];
        let is_allowed = |code: &&&str| mistake.contains(&format!("allow = [\"{code}\"]"));
        let acknowledged = allowed.iter().filter(is_allowed).count();
        assert_eq!(findings.len(), 1 + acknowledged, "{mistake}\n{text}");
        let open = findings.iter().filter(|finding| finding.is_error() || finding.is_warning());
        assert_eq!(open.count(), 1, "{mistake}\n{text}");
        assert!(
            text.contains(message) && text.contains(hint) && text.contains("purposegate.toml:"),
            "{text}"
        );
    }
}

/// Mistakes in a route, each with a part of the message and of the hint of its only finding.
const ROUTE_MISTAKES: &[(&str, &str, &str)] = &[
    ("fields = { \"@.email\" = \"emial\" }", "there is no data category `emial`", "did you mean `email`?"),
    (
        "fields = { \"@.email\" = [\"email\", \"nothing-like-it\"] }",
        "no data category `nothing-like-it`",
        "no word like it",
    ),
    ("fields = { \"@.email\" = [] }", "this field has no category", "at least one"),
    ("fields = { \"@.[email\" = \"email\" }", "`@.[email` cannot be used", "RFC 9535"),
    ("fields = { \"@.a\" = { embedded = \"json\" } }", "a field has no `category`", "missing here"),
    (
        "fields = { \"@.a\" = { category = \"email\", embedded = \"xml\" } }",
        "`embedded` cannot be `xml`",
        "one of `json`",
    ),
    (
        "fields = { \"@.a\" = { category = \"email\", embeded = \"json\" } }",
        "unknown key `embeded`",
        "`embedded`",
    ),
    ("events = [\"a\\nb\"]", "this is not the type of an event", "`event:`"),
    (
        "redact = [\"suport-content\"]",
        "there is no data category `suport-content`",
        "did you mean `support-content`?",
    ),
    ("redaction = \"rfc9573\"", "`redaction` cannot be `rfc9573`", "did you mean `rfc9537`?"),
    (
        "redaction = \"rfc9537\"\nremoved-as = \"null\"",
        "`removed-as` must be `omit` on a route with `redaction = \"rfc9537\"`",
        "take this out",
    ),
    (
        "removed-as = \"empty\"\nredaction = \"rfc9537\"",
        "leaves something where the answer says that it was removed",
        "take this out",
    ),
    ("query = { email = \"emial\" }", "there is no data category `emial`", "did you mean `email`?"),
    (
        "query = { sort = { values = { name = \"nmae\" } } }",
        "there is no data category `nmae`",
        "did you mean `name`?",
    ),
    ("query = { sort = { values = {} } }", "the parameter `sort` has no `values`", "values = {"),
    (
        "query = { sort = { category = \"name\", values = { a = \"name\" } } }",
        "unknown key `category`",
        "`values`",
    ),
    ("query = { _method = \"non-personal\" }", "the parameter `_method` cannot pass", "something else"),
    ("request-headers = [\"not a header\"]", "this is not a header name", ""),
    ("request-headers = [\"Authorization\"]", "`Authorization` cannot go on", "credential"),
    ("request-headers = [\"Content-Length\"]", "`Content-Length` cannot go on", "frames"),
    ("request-headers = [\"X-Original-URL\"]", "`X-Original-URL` cannot go on", "something else"),
    ("request-headers = [\"X-Forwarded-For\"]", "`X-Forwarded-For` cannot go on", "only the gateway"),
    ("request-headers = [\"Data-Purpose\"]", "`Data-Purpose` cannot go on", "forward-purpose"),
    ("request-headers = [\"If-None-Match\"]", "`If-None-Match` cannot go on", "the one that leaves"),
    ("request-body = true", "`request-body` is for routes that serve DELETE", "GET and HEAD never"),
    ("cors = {}", "`cors` lists no origin", "https://app.example.org"),
    ("cors = { origins = [\"*\"] }", "`*` is not an origin", "has to be named"),
    ("cors = { origins = [\"https://app.example.org/\"] }", "is not an origin", "without a path"),
    (
        "cors = { origin = [\"https://a.example\"], origins = [\"https://a.example\"] }",
        "unknown key `origin`",
        "origins",
    ),
    ("facts = { contry = \"@.country\" }", "unknown key `contry`", "did you mean `country`?"),
    ("controller = 7", "this is not where a subject's id is found", "`@.id`"),
    ("schema = \"custmer\"", "there is no schema `custmer`", "add a `[[schema]]`"),
    ("policy = \"nowhere\"", "there is no policy pack in", "`pack.toml`"),
    ("methods = [\"GTE\"]", "`methods` cannot be `GTE`", "did you mean `GET`?"),
    ("answer-headers = [\"not a header\"]", "this is not a header name", ""),
    ("max-record = \"1MB\"", "`max-record` must be a size", "8MiB"),
    ("records = [{ path = \"$.a\", schema = \"x\" }]", "there is no schema `x`", "add a `[[schema]]`"),
    ("records = [{ subject = \"@.id\" }]", "a record set has no `path`", ""),
    (
        "fields = { \"@.id\" = \"subject-identifier\", subject = \"@.id\" }",
        "`subject` stands below `fields`, where every key is a path",
        "move it above `[route.fields]`",
    ),
    (
        "fields = { \"@.id\" = \"pii\" }",
        "there is no data category `pii`",
        "`purposegate policy vocabulary --policy DIR --format text`",
    ),
    (
        "fields = { \"@.id\" = \"anonymous\" }",
        "there is no data category `anonymous`",
        "this needs one data category: `de-identified`",
    ),
];

#[test]
fn each_mistake_in_a_route_yields_one_finding() {
    for (mistake, message, hint) in ROUTE_MISTAKES {
        let (loads, findings, folder) = check_with(&format!("{ROUTE}{mistake}\n"));
        let text = rendered(&findings, folder.path());
        assert!(!loads, "{mistake}");
        assert_eq!(findings.len(), 1, "{mistake}\n{text}");
        assert!(
            text.contains(message) && text.contains(hint) && text.contains("purposegate.toml:"),
            "{text}"
        );
    }
}

#[test]
fn a_sound_configuration_has_no_finding() {
    let (loads, findings, folder) = check_with(&format!("{ROUTE}{FIELDS}"));
    assert!(loads && findings.is_empty(), "{}", rendered(&findings, folder.path()));
}

#[test]
fn a_record_set_adds_its_fields_to_those_of_its_schema() {
    let schema =
        "[[schema]]\nname = \"person\"\nsubject = \"@.id\"\n[schema.fields]\n\"@.name\" = \"name\"\n";
    let records = "[[route.records]]\npath = \"$.people[*]\"\nschema = \"person\"\nfields = { \"@.mail\" = \"email\" }\n";
    let route = format!("[[route]]\nname = \"two\"\nupstream = \"crm\"\npath = \"/two\"\n{records}{schema}");
    let (loads, findings, folder) = check_with(&route);
    assert!(loads && findings.is_empty(), "{}", rendered(&findings, folder.path()));
    let (config, _) = config::load(&folder.path().join("purposegate.toml"));
    let config = config.unwrap();
    let route = config.routes.iter().next().unwrap();
    let words = config.vocabulary.categories();
    let classes = route.scrubbing.as_ref().unwrap().plan.classes();
    let mut names: Vec<&str> =
        classes.iter().flat_map(|class| &class.categories).map(|category| words.name(*category)).collect();
    names.sort_unstable();
    assert_eq!(names, ["email", "name"]);
}

#[test]
fn paths_of_the_route_itself_are_checked_beside_its_records() {
    let records =
        "[[route.records]]\npath = \"$.people[*]\"\nsubject = \"@.id\"\nfields = { \"@.name\" = \"name\" }\n";
    for (own, code) in [
        ("record = \"$.people[*\"", "bad-path"),
        ("controller = \"@.[\"", "bad-path"),
        ("facts = { country = \"@.[\" }", "bad-path"),
        ("columns = { path = \"$.columns\", names = [\"a\"] }", "columns-need-null"),
    ] {
        let route = format!("[[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\n{own}\n{records}");
        let (loads, findings, folder) = check_with(&route);
        let text = rendered(&findings, folder.path());
        assert!(!loads && codes(&findings) == [code], "{text}");
    }
}

#[test]
fn a_mistake_in_a_schema_is_reported_once() {
    let schema = "[[schema]]\nname = \"person\"\nsubject = \"@.id\"\n[schema.fields]\n\"@.[\" = \"name\"\n";
    let route = |name: &str| {
        format!("[[route]]\nname = \"{name}\"\nupstream = \"crm\"\npath = \"/{name}\"\nschema = \"person\"\n")
    };
    let (loads, findings, folder) = check_with(&format!("{}{}{schema}", route("a"), route("b")));
    assert!(!loads);
    assert_eq!(findings.len(), 1, "{}", rendered(&findings, folder.path()));
}

#[test]
fn a_missing_pack_causes_no_further_findings() {
    let text =
        format!("policy = \"nowhere\"\n{SOUND}{ROUTE}fields = {{ \"@.x\" = \"a-word-of-that-pack\" }}\n");
    let folder = folder(&[("purposegate.toml", &text)]);
    let (config, findings) = config::load(&folder.path().join("purposegate.toml"));
    assert!(config.is_none());
    assert_eq!(findings.len(), 1, "{}", rendered(&findings, folder.path()));
    assert!(findings[0].to_string().contains("there is no policy pack"));
}

#[test]
fn what_is_wrong_with_a_pack_as_a_whole_is_at_the_key_that_names_it() {
    const MANIFEST: &str = "title = \"T\"\nversion = \"1\"\nannounced = 2026-01-05\neffective = 2026-01-05\ncontact = \"c\"\n\
                            [bases]\ncontract = \"c\"\n[[clauses]]\nid = \"C\"\ntitle = \"t\"\nkept = \"by-rules\"\n";
    const RULE: &str = "@id(\"r\") @clause(\"C\") @basis(\"contract\") permit (principal in Kind::\"hosting-provider\", action == \
                        Action::\"hosting\", resource in Category::\"contact\");";
    let words = format!(
        "{MANIFEST}[[vocabulary.categories]]\nid = \"shoe-size\"\nparent = \"contact\"\ntitle = \"Shoe size\"\ndescription = \"d\"\n"
    );
    let default = format!("policy = \"sound\"\n{SOUND}{ROUTE}{FIELDS}");
    let of_route = format!("{default}policy = \"other\"\n");
    for (code, text, rules, manifest, line) in [
        ("no-rules", default.replace("sound", "other"), "", MANIFEST, 1),
        ("unreadable-file", format!("\n{}", default.replace("sound", "other")), "\u{0}", MANIFEST, 2),
        ("packs-differ-in-words", of_route.clone(), RULE, &words, of_route.lines().count()),
    ] {
        let folder = folder(&[
            ("purposegate.toml", &text),
            ("sound/pack.toml", MANIFEST),
            ("sound/rules.cedar", RULE),
            ("other/pack.toml", manifest),
            ("other/rules.cedar", rules),
        ]);
        if code == "unreadable-file" {
            std::fs::write(folder.path().join("other/rules.cedar"), b"// \xff").unwrap();
        }
        let file = folder.path().join("purposegate.toml");
        let (config, findings) = config::load(&file);
        let shown = rendered(&findings, folder.path());
        assert!(config.is_none(), "{shown}");
        assert_eq!(codes(&findings), [code], "{shown}");
        let report = findings[0].report();
        assert_eq!((report.file, report.line), (file.to_str(), Some(line)), "{shown}");
    }
}

#[test]
fn findings_in_an_included_file_name_it() {
    let text = format!(
        "policy = {:?}\ninclude = [\"more/*.toml\", \"gone.toml\"]\n{SOUND}{ROUTE}",
        pack("one-partner-360").display().to_string()
    );
    let more = "include = [\"deeper.toml\"]\n[[upstream]]\nname = \"crm\"\nurl = \"http://127.0.0.1:1\"\n";
    let folder = folder(&[("purposegate.toml", &text), ("more/a.toml", more), ("more/not-this.txt", "?")]);
    let (config, findings) = config::load(&folder.path().join("purposegate.toml"));
    assert!(config.is_none());
    let text = rendered(&findings, folder.path());
    assert_eq!(findings.len(), 3, "{text}");
    assert!(
        text.contains("[folder]/gone.toml cannot be read") && text.contains("unknown key `include`"),
        "{text}"
    );
    assert!(text.contains("[folder]/more/a.toml:3:8"), "{text}");
}

/// The route in `c.toml` is sound: the upstream that it names is in another file of the same pattern.
#[test]
fn each_included_file_that_cannot_be_read_is_one_finding_and_the_others_are_read() {
    let policy = pack("one-partner-360").display().to_string();
    let text = format!("policy = {policy:?}\ninclude = [\"more/*.toml\"]\n{SOUND}");
    let upstream = "[[upstream]]\nname = \"shop\"\nurl = \"http://127.0.0.1:1\"\n";
    let route = format!("{}{FIELDS}", ROUTE.replace("\"crm\"", "\"shop\""));
    let files = [("purposegate.toml", &*text), ("more/b.toml", upstream), ("more/c.toml", &*route)];
    let sound = folder(&files);
    let (config, findings) = config::load(&sound.path().join("purposegate.toml"));
    assert!(config.is_some() && findings.is_empty(), "{}", rendered(&findings, sound.path()));

    let broken = folder(&files);
    let more = broken.path().join("more");
    std::fs::write(more.join("a.toml"), b"# \xff").unwrap();
    std::fs::create_dir(more.join("d.toml")).unwrap();
    std::os::unix::fs::symlink("nowhere", more.join("e.toml")).unwrap();
    std::os::unix::fs::symlink("nowhere", more.join(".#c.toml")).unwrap();
    let (config, findings) = config::load(&broken.path().join("purposegate.toml"));
    let text = rendered(&findings, broken.path());
    assert!(config.is_none() && codes(&findings) == ["unreadable-file"; 3], "{text}");
    for words in ["more/a.toml cannot be read", "more/d.toml is not a file", "more/e.toml cannot be read"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_pattern_of_include_has_one_star_in_the_name_of_the_file() {
    let policy = pack("one-partner-360").display().to_string();
    for pattern in ["more/*a*.toml", "*/a.toml", "more/**.toml", "nowhere/*.toml"] {
        let text = format!("policy = {policy:?}\ninclude = [\"{pattern}\"]\n{SOUND}{ROUTE}{FIELDS}");
        let folder = folder(&[("purposegate.toml", &text), ("more/a.toml", "")]);
        let (config, findings) = config::load(&folder.path().join("purposegate.toml"));
        let text = rendered(&findings, folder.path());
        assert!(config.is_none() && codes(&findings) == ["unreadable-include"], "{text}");
    }
}

#[test]
fn an_include_of_a_folder_that_is_not_there_says_what_to_do() {
    let (loads, findings, folder) = check_with(ROUTE);
    assert!(loads, "{}", rendered(&findings, folder.path()));
    let file = folder.path().join("purposegate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("include = [\"nowhere/*.toml\"]\n{text}")).unwrap();
    let (config, findings) = config::load(&file);
    let text = rendered(&findings, folder.path());
    assert!(config.is_none() && codes(&findings).contains(&"unreadable-include"), "{text}");
    assert!(text.contains("help: make the folder"), "{text}");
}

#[test]
fn a_log_of_another_origin_is_a_finding() {
    let policy = pack("one-partner-360").display().to_string();
    let audit = "[audit]\norigin = \"gateway-1/a\"\ndirectory = \"log\"\n";
    let text = format!("policy = {policy:?}\n{SOUND}{ROUTE}{FIELDS}{audit}");
    for (found, codes_expected) in [("gateway-1/a", &[][..]), ("gateway-1/b", &["other-log-origin"])] {
        let origin = format!("{found}\n");
        let folder = folder(&[("purposegate.toml", &text), ("log/origin", &origin)]);
        let (_, findings) = config::load(&folder.path().join("purposegate.toml"));
        assert_eq!(codes(&findings), codes_expected, "{}", rendered(&findings, folder.path()));
    }
}

#[test]
fn certificate_files_of_a_listener_are_checked() {
    let folder = folder(&[("purposegate.toml", ""), ("empty.pem", "hello")]);
    let certificates = folder.path().join("certs");
    purposegate::credentials::development::make(&certificates, &[]).unwrap();
    let other = folder.path().join("other");
    purposegate::credentials::development::make(&other, &[]).unwrap();
    let policy = pack("one-partner-360").display().to_string();
    let file = folder.path().join("purposegate.toml");
    let check_with = |tls: &str| {
        let listener = format!("[listener]\naddress = \"127.0.0.1:0\"\ntls = {{ {tls} }}");
        let sound = SOUND.replace("[listener]\naddress = \"127.0.0.1:0\"", &listener);
        std::fs::write(&file, format!("policy = {policy:?}\n{sound}{ROUTE}{FIELDS}")).unwrap();
        let (config, findings) = config::load(&file);
        (config.is_some(), findings.iter().map(Finding::line).collect::<Vec<_>>().join("; "))
    };
    let own = "certificate = \"certs/server.pem\", key = \"certs/server.key\"";
    assert_eq!(check_with(own), (true, String::new()));
    for (tls, why) in [
        (own.replace("certs/server.key", "other/server.key"), "is not the key of"),
        (own.replace("certs/server.key", "empty.pem"), "holds no private key"),
        (own.replace("certs/server.pem", "empty.pem"), "holds no certificate"),
        (format!("{own}, client-ca = \"certs/server.key\""), "holds no certificate"),
    ] {
        let (loads, words) = check_with(&tls);
        assert!(!loads && words.contains(why) && words.contains("purposegate.toml:5: "), "{tls}: {words}");
    }
}

#[test]
fn impossible_route_settings_are_findings() {
    for (more, loads, why) in [
        ("answer-headers = [\"Content-Length\"]", false, "cannot pass as it is"),
        ("answer-headers = [\"Data-Purpose-Withheld\"]", false, "cannot pass as it is"),
        ("answer-headers = [\"X-Request-Id\"]", true, ""),
        ("subject = \"{nope}\"", true, "has no parameter `{nope}`"),
    ] {
        let route = ROUTE.replace(
            "subject = \"@.id\"",
            if more.starts_with("subject") { "" } else { "subject = \"@.id\"" },
        );
        let (loaded, findings, folder) = check_with(&format!("{route}{FIELDS}{more}\n"));
        let text = rendered(&findings, folder.path());
        assert!(
            loaded == loads && text.contains(why) && findings.is_empty() == why.is_empty(),
            "{more}: {text}"
        );
    }
    for path in [
        "customers",
        "/a b",
        "/a//b",
        "/ä",
        "/a?b",
        "/v1/customers%3Asearch",
        "/caf%c3%a9",
        "/a;b",
        "/a/../b",
    ] {
        let (loaded, findings, folder) =
            check_with(&ROUTE.replace("path = \"/customers\"", &format!("path = \"{path}\"")));
        assert!(!loaded, "{path}: {}", rendered(&findings, folder.path()));
    }
    let rest = ROUTE
        .replace("path = \"/customers\"", "path = \"/customers/{*rest}\"")
        .replace("\"@.id\"", "\"{rest}\"");
    let (_, findings, written) = check_with(&format!("{rest}{FIELDS}"));
    assert!(findings.is_empty(), "{}", rendered(&findings, written.path()));
    for (header, loads) in [
        ("Data-Purpose", true),
        ("Host", false),
        ("Authorization", false),
        ("Cookie", false),
        ("Content-Length", false),
        ("X-Purpose", false),
    ] {
        let policy = pack("one-partner-360").display().to_string();
        let text = format!("policy = {policy:?}\npurpose-header = \"{header}\"\n{SOUND}{ROUTE}");
        let folder = folder(&[("purposegate.toml", &text)]);
        let (config, _) = config::load(&folder.path().join("purposegate.toml"));
        assert_eq!(config.is_some(), loads, "{header}");
    }
}

pub(crate) fn codes(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(Finding::code).collect()
}

#[test]
fn several_controllers_are_an_error() {
    let route = ROUTE.replace("subject =", "controller = [\"@.account\", \"@.reseller\"]\nsubject =");
    let (loads, findings, _folder) =
        check_with(&format!("{route}[route.fields]\n\"@.note\" = \"service-data\"\n"));
    assert!(!loads);
    assert_eq!(codes(&findings), ["several-controllers"]);
}

#[test]
fn columns_need_a_sound_header() {
    let table = |columns: &str, more: &str| {
        let route = ROUTE.replace("$.items[*]", "$.rows[*]");
        let fields = "[route.fields]\n\"@.email\" = \"email\"\n";
        let (_, findings, _folder) = check_with(&format!("{route}columns = {columns}\n{more}\n{fields}"));
        codes(&findings)
    };
    let columns = r#"{ path = "$.columns", names = ["id", "email"] }"#;
    assert_eq!(table(columns, "removed-as = \"null\""), [""; 0]);
    assert_eq!(table(columns, ""), ["columns-need-null"]);
    let null = "removed-as = \"null\"";
    assert_eq!(table(r#"{ path = "$.columns", names = [] }"#, null), ["bad-columns"]);
    assert_eq!(table(r#"{ path = "$.columns", names = ["id", "email", "id"] }"#, null), ["bad-columns"]);
    assert_eq!(table(r#"{ path = "$.columns", names = ["id", "mail"] }"#, null), ["bad-path"]);
    assert_eq!(table(r#"{ path = "@.columns", names = ["id", "email"] }"#, null), ["bad-path"]);
}

#[test]
fn trusted_proxies_are_networks_and_the_proxy_protocol_needs_them() {
    for (keys, expected) in [
        ("trusted-proxies = [\"10.0.0.0/8\", \"::1\"]\nproxy-protocol = true", &[][..]),
        ("trusted-proxies = \"192.0.2.7\"", &[]),
        ("proxy-protocol = true", &["missing-key"]),
        ("trusted-proxies = [\"10.0.0.0/33\", \"proxy.example\", \"192.0.2.7:80\"]", &["bad-network"; 3]),
        ("trusted-proxies = [\"0.0.0.0/0\"]", &["everybody-trusted"]),
        ("trusted-proxies = [\"::/0\"]\nallow = [\"everybody-trusted\"]", &[]),
    ] {
        let top = format!("policy = {:?}\n", pack("one-partner-360").display().to_string());
        let sound = SOUND.replace("[[upstream]]", &format!("{keys}\n[[upstream]]"));
        let folder = folder(&[("purposegate.toml", &format!("{top}{sound}{ROUTE}{FIELDS}"))]);
        let (_, mut findings) = config::load(&folder.path().join("purposegate.toml"));
        findings.retain(|finding| finding.is_error() || finding.is_warning());
        assert_eq!(codes(&findings), expected, "{keys}\n{}", rendered(&findings, folder.path()));
    }
}
