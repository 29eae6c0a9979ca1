//! Reading TOML documents: findings, quantities and acknowledgements.

use super::*;

fn messages(document: Document<'_>) -> Vec<String> {
    document.into_findings().iter().map(ToString::to_string).collect()
}

#[test]
fn every_mistake_of_a_file_is_reported_at_once() {
    let source = Source::new("x.toml", "title = 1\ntitel = \"a\"\n[sub]\nday = \"soon\"\n");
    let document = Document::parse(&source);
    let mut root = document.root("a test");
    assert_eq!(root.text("title"), None);
    if let Some(mut sub) = root.fields("sub", "`sub`") {
        assert_eq!(sub.date("day"), None);
        sub.end();
    }
    assert_eq!(root.needed_text("name"), None);
    root.end();
    assert_eq!(
        messages(document),
        [
            "a test has no `name`",
            "`title` must be a text",
            "unknown key `titel` in a test",
            "`day` must be a date",
        ]
    );
}

#[test]
fn a_date_has_neither_time_nor_zone() {
    let text = "a = 2027-06-30\nb = \"2027-06-30\"\nc = 9999-12-31\nd = 2027-06-30T12:00:00Z\ne = \"2027-06-30T12:00\"\n\
                f = \"20270630\"\ng = \"2027-06\"\nh = 12:00:00\n";
    let source = Source::new("x.toml", text);
    let document = Document::parse(&source);
    let mut root = document.root("a test");
    let read = ["a", "b", "c"].map(|key| root.date(key).is_some());
    assert_eq!(read, [true; 3]);
    let refused = ["d", "e", "f", "g", "h"].map(|key| root.date(key).is_some());
    assert_eq!(refused, [false; 5]);
    root.end();
    assert_eq!(messages(document).len(), 5);
}

#[test]
fn quantities_have_units() {
    let text = "a = 65536\nb = \"64KiB\"\nc = \"8 MiB\"\nd = \"1_000\"\ne = \"500ms\"\nf = \"400d\"\ng = 7\n";
    let source = Source::new("x.toml", text);
    let document = Document::parse(&source);
    let mut root = document.root("a test");
    let sizes = ["a", "b", "c", "d"].map(|key| root.size(key));
    assert_eq!(sizes, [Some(65536), Some(65536), Some(8 << 20), Some(1000)]);
    assert_eq!(root.duration("e"), Some(Duration::from_millis(500)));
    assert_eq!(root.duration("f"), Some(Duration::from_secs(400 * 86400)));
    assert_eq!(root.number("g").map(|at| at.value), Some(7));
    root.end();
    assert_eq!(messages(document), Vec::<String>::new());
}

#[test]
fn an_invalid_quantity_is_a_finding() {
    let text = "a = -1\nb = \"8MB\"\nc = \"99999999999GiB\"\nd = 2\ne = \"soon\"\nf = \"-2s\"\ng = -7\n";
    let source = Source::new("x.toml", text);
    let document = Document::parse(&source);
    let mut root = document.root("a test");
    assert_eq!(["a", "b", "c"].map(|key| root.size(key)), [None; 3]);
    assert_eq!(["d", "e", "f"].map(|key| root.duration(key)), [None; 3]);
    assert_eq!(root.number("g"), None);
    root.end();
    assert_eq!(messages(document).len(), 7);
}

/// Reads `[[a]]` tables, each with a warning at its key `x`, and one warning about the file. Returns each finding and
/// whether it is still a warning.
fn acknowledged(text: &str) -> Vec<(String, bool)> {
    let source = Source::new("x.toml", text);
    let document = Document::parse(&source);
    let mut root = document.root("a test");
    root.allow();
    document.find(Finding::warning("no-route", "of the file"), root.at());
    for mut fields in root.tables("a", "an a") {
        fields.allow();
        if let Some(item) = fields.item("x") {
            document.find(Finding::warning("plaintext-listener", "of x"), item.at());
        }
        if let Some(mut inner) = fields.fields("inner", "`inner`") {
            inner.item("y");
            document.find(Finding::warning("category-too-wide", "of inner"), inner.at());
            inner.end();
        }
        fields.end();
    }
    root.end();
    let findings = document.into_findings();
    findings.iter().map(|finding| (finding.to_string(), finding.is_warning())).collect()
}

#[test]
fn allow_acknowledges_warnings_in_its_table() {
    let text = "[[a]]\nx = 1\nallow = [\"plaintext-listener\"]\n[[a]]\nx = 1\n";
    let found = [("of the file", true), ("of x", false), ("of x", true)];
    assert_eq!(acknowledged(text), found.map(|(words, open)| (words.to_owned(), open)));
    let text = "allow = \"no-route\"\n[[a]]\nallow = [\"category-too-wide\"]\n[a.inner]\ny = 1\n";
    let found = [("of the file", false), ("of inner", false)];
    assert_eq!(acknowledged(text), found.map(|(words, open)| (words.to_owned(), open)));
}

#[test]
fn an_allow_that_acknowledges_nothing_is_a_finding() {
    // An `allow` at the top does not apply to the tables below it.
    let found = acknowledged("allow = [\"plaintext-listener\", \"no-route\"]\n[[a]]\nx = 1\n");
    let found: Vec<&str> = found.iter().filter(|found| found.1).map(|found| &*found.0).collect();
    assert_eq!(found, ["no warning here is `plaintext-listener`", "of x"]);
}

#[test]
fn errors_and_unknown_codes_cannot_be_acknowledged() {
    let found = acknowledged("allow = [\"unknown-key\", \"no-rout\"]\n");
    let words: Vec<&str> = found.iter().map(|found| &*found.0).collect();
    assert_eq!(
        words,
        [
            "of the file",
            "`unknown-key` is an error and cannot be acknowledged",
            "there is no finding code `no-rout`"
        ]
    );
}

#[test]
fn a_single_value_is_a_list_of_one() {
    let source = Source::new("x.toml", "a = \"x\"\nb = [\"x\", 1]\n[c]\nd = 1\n[[e]]\n[[e]]\n");
    let document = Document::parse(&source);
    let mut root = document.root("a test");
    assert_eq!((root.texts("a").len(), root.texts("b").len()), (1, 1));
    assert_eq!((root.tables("c", "c").len(), root.tables("e", "e").len()), (1, 2));
    root.end();
    assert_eq!(messages(document), ["`b` must be a text"]);
}

#[test]
fn an_allow_of_later_warnings_is_judged_when_they_were_looked_for() {
    let source = Source::new(
        "x.toml",
        "allow = [\"log-unreadable\", \"notice-not-compared\", \"no-route\"]\n[[a]]\nallow = \"log-unreadable\"\n",
    );
    let later = ["log-unreadable", "notice-not-compared"];
    let read = |later: &[&str]| {
        let document = Document::parse(&source);
        let mut root = document.root("a test");
        root.allow();
        for mut fields in root.tables("a", "an a") {
            fields.allow();
            fields.end();
        }
        root.end();
        document.into_findings_before(later)
    };
    let words = |findings: &[Finding]| {
        let open = findings.iter().filter(|finding| finding.is_warning() || finding.is_error());
        open.map(ToString::to_string).collect::<Vec<_>>()
    };
    let unused = |code: &str| format!("no warning here is `{code}`");
    let (findings, allow) = read(&later);
    assert_eq!(words(&findings), [unused("no-route"), unused("log-unreadable")], "only at the top");
    assert!(later.iter().all(|code| allow.allows(code)) && !allow.allows("no-route"));
    assert_eq!(read(&[]).0.len(), 4);

    let mut found = [Finding::warning("log-unreadable", "a"), Finding::error("unreadable-file", "b")];
    let left = allow.acknowledge(&mut found, &later);
    assert_eq!((words(&found), words(&left)), (vec!["b".to_owned()], vec![unused("notice-not-compared")]));
    assert_eq!(left[0].report().line, Some(1));
    assert_eq!(words(&allow.acknowledge(&mut [], &["log-unreadable"])), [unused("log-unreadable")]);
    assert!(allow.acknowledge(&mut [], &[]).is_empty(), "nobody has looked");
}
