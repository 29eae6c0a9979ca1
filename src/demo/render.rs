//! The scenes on paper: `curl` lines to paste, and the table of what was expected and what came.
//!
//! It renders and sends nothing.

use std::fmt::{self, Write as _};

use http::Method;

use super::expectation::{Expectation, ReceivedResponse};
use super::scenes::{Credential, Scene, SceneEvent, SceneRequest, SceneStep};

/// Lines of a long answer that are worth a look.
const HEAD: usize = 16;

/// An API key that nobody has.
const UNREGISTERED: &str = "pgk_nobody_0000000000000000000000000000000000000000";

/// Where to send requests, and with what in hand.
///
/// `Debug` prints the type's name only: it holds keys.
#[derive(Clone)]
pub struct AccessDetails {
    /// `https://localhost:8443`
    pub gateway: String,
    /// `http://127.0.0.1:9901`
    pub admin: String,
    /// `http://127.0.0.1:49152`: the sample API behind the gateway.
    pub api: String,
    /// The configuration's file.
    pub configuration: String,
    /// The certificate authority's file.
    pub authority: String,
    /// The registrar's certificate and key files.
    pub certificate: (String, String),
    pub service_desk: String,
    pub north_resale: String,
    pub swift_pay: String,
}

impl fmt::Debug for AccessDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessDetails")
    }
}

impl AccessDetails {
    /// The API key of a credential; `None` for one that is a certificate.
    pub fn key(&self, credential: Credential) -> Option<&str> {
        match credential {
            Credential::ServiceDesk => Some(&self.service_desk),
            Credential::Reseller => Some(&self.north_resale),
            Credential::PaymentProcessor => Some(&self.swift_pay),
            Credential::Unregistered => Some(UNREGISTERED),
            Credential::Registrar => None,
        }
    }

    fn request_command(&self, ask: &SceneRequest) -> String {
        let mut line = format!("curl -sS --cacert {}", quoted(&self.authority));
        for &credential in &ask.credentials {
            match self.key(credential) {
                Some(key) => push(&mut line, "-H", &format!("Authorization: Bearer {key}")),
                None => {
                    push(&mut line, "--cert", &self.certificate.0);
                    push(&mut line, "--key", &self.certificate.1);
                }
            }
        }
        if let Some(purpose) = ask.purpose {
            push(&mut line, "-H", &format!("Data-Purpose: {purpose}"));
        }
        if ask.method != Method::GET {
            push(&mut line, "-X", ask.method.as_str());
        }
        let _ = write!(line, " {}", quoted(&format!("{}{}", self.gateway, ask.target)));
        line
    }

    fn event_command(&self, tell: &SceneEvent) -> String {
        let target = format!("{}/v1/subjects/{}/events", self.admin, tell.subject);
        format!(
            "curl -sS -H 'Content-Type: application/json' -d {} {}",
            quoted(&tell.event.to_string()),
            quoted(&target)
        )
    }

    /// The lines of one scene, with what to expect.
    pub fn scene(&self, scene: &Scene) -> String {
        let mut text = format!("# {} ({})\n#   expect: {}\n", scene.title, scene.clause, scene.outcome);
        for step in &scene.steps {
            let _ = match step {
                SceneStep::Request(ask, expected) if expected.is_truncated() => {
                    writeln!(text, "{} -o /dev/null", self.request_command(ask))
                }
                SceneStep::Request(ask, _) if ask.long_answer => {
                    writeln!(text, "{} 2>/dev/null | head -n {HEAD}", self.request_command(ask))
                }
                SceneStep::Request(ask, _) => writeln!(text, "{}", self.request_command(ask)),
                SceneStep::Event(tell) => writeln!(text, "{}", self.event_command(tell)),
                SceneStep::RequestWithEvent { ask, tell, expected, .. } => {
                    let gone = quoted(expected.excluded_after_event().unwrap_or_default());
                    writeln!(text, "{} | grep -c {gone} &   # how often: 0", self.request_command(ask))
                        .and_then(|()| writeln!(text, "sleep 1; {}; wait", self.event_command(tell)))
                }
            };
        }
        text
    }
}

fn push(line: &mut String, option: &str, value: &str) {
    let _ = write!(line, " {option} {}", quoted(value));
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// What came of one request of a scene.
#[derive(Clone, Debug)]
pub struct CheckRow {
    pub title: &'static str,
    pub expected: String,
    pub got: String,
    /// What was not as expected.
    pub failure: Option<String>,
}

impl CheckRow {
    /// The verdict on what came back, or on why nothing did.
    pub fn new(
        title: &'static str,
        expected: &Expectation,
        answer: Result<&ReceivedResponse, &str>,
    ) -> CheckRow {
        let (got, wrong) = match answer {
            Ok(answer) => (answer.summary(), expected.check(answer).err()),
            Err(failure) => ("no answer".to_owned(), Some(failure.to_owned())),
        };
        CheckRow { title, expected: expected.summary(), got, failure: wrong }
    }
}

/// The table, one line a row, differences below their row, totals last.
pub fn table(rows: &[CheckRow]) -> String {
    let width = |cell: fn(&CheckRow) -> &str, least: usize| {
        rows.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0).max(least)
    };
    let (title, expected) = (width(|row| row.title, 5), width(|row| &row.expected, 8));
    let mut text = format!("      {:title$}  {:expected$}  got\n", "scene", "expected");
    for row in rows {
        let verdict = if row.failure.is_none() { "ok" } else { "WRONG" };
        let _ = writeln!(text, "{verdict:5} {:title$}  {:expected$}  {}", row.title, row.expected, row.got);
        if let Some(wrong) = &row.failure {
            let _ = writeln!(text, "      {wrong}");
        }
    }
    let wrong = rows.iter().filter(|row| row.failure.is_some()).count();
    let _ = writeln!(text, "{} as expected, {wrong} not", rows.len() - wrong);
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::scenes::scenes;
    use super::*;

    fn access() -> AccessDetails {
        AccessDetails {
            gateway: "https://localhost:8443".into(),
            admin: "http://127.0.0.1:9901".into(),
            api: "http://127.0.0.1:49152".into(),
            configuration: "/tmp/a demo/purposegate.toml".into(),
            authority: "/tmp/a demo/certs/ca.pem".into(),
            certificate: ("certs/registrar.pem".into(), "certs/registrar.key".into()),
            service_desk: "pgk_desk_s".into(),
            north_resale: "pgk_resale_s".into(),
            swift_pay: "pgk_pay_s".into(),
        }
    }

    #[test]
    fn a_line_can_be_pasted() {
        let all: Vec<String> = scenes().iter().map(|scene| access().scene(scene)).collect();
        assert!(all[0].contains(
            "curl -sS --cacert '/tmp/a demo/certs/ca.pem' -H 'Authorization: Bearer pgk_desk_s' \
             -H 'Data-Purpose: customer-support' https://localhost:8443/customers/c-00001\n"
        ));
        assert!(all[2].contains("--cert certs/registrar.pem --key certs/registrar.key"));
        assert!(all.iter().any(|lines| lines.contains("-X DELETE")));
        let last = all.last().unwrap();
        assert!(
            last.contains("| grep -c Ravnsborgtveit &   # how often: 0\nsleep 1; curl -sS -H 'Content-Type: application/json' -d '{"),
            "{last}"
        );
        assert!(last.ends_with("/v1/subjects/c-09990/events; wait\n"), "{last}");
    }

    #[test]
    fn a_shell_sees_what_was_meant() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!((quoted(""), quoted("a-b"), quoted("a?b")), ("''".into(), "a-b".into(), "'a?b'".into()));
    }

    #[test]
    fn the_table_says_what_is_wrong() {
        let expected = Expectation::refused(404, "not-found");
        let rows = [CheckRow::new("one", &expected, Err("connection refused"))];
        let text = table(&rows);
        assert!(text.contains("WRONG one") && text.contains("connection refused"), "{text}");
        assert!(text.ends_with("0 as expected, 1 not\n"));
    }
}
