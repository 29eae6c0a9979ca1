//! The scenes as `curl` commands to paste into a shell, and the shell variables that the commands use.
//!
//! The module only renders text: it sends nothing. Invariant: the commands use the variables of
//! [`AccessDetails::variables`] alone, so that they are short, and their lines fit a terminal of 80 columns.

use std::fmt::{self, Write as _};

use http::Method;

use super::scenes::{Credential, Scene, SceneEvent, SceneRequest, SceneStep};
use super::text::wrapped;

/// Characters in a line.
const WIDTH: usize = 80;

/// Lines of a long response that are printed.
const MAX_LINES: usize = 16;

/// An API key that belongs to no recipient.
const UNREGISTERED: &str = "pgk_nobody_000000000000000000000000000000000000";

/// The addresses of the demonstration, and the credentials of its recipients.
///
/// `Debug` prints the type's name only, because it holds keys.
#[derive(Clone)]
pub(super) struct AccessDetails {
    /// `https://localhost:8443`
    pub(super) gateway: String,
    /// `http://127.0.0.1:9901`
    pub(super) admin: String,
    /// The sample API behind the gateway: `http://127.0.0.1:49152`
    pub(super) api: String,
    /// The configuration file.
    pub(super) configuration: String,
    /// The certificate file of the authority.
    pub(super) authority: String,
    /// The registrar's certificate file and key file.
    pub(super) certificate: (String, String),
    /// The API key of `service-desk`.
    pub(super) service_desk: String,
    /// The API key of `north-resale`.
    pub(super) north_resale: String,
    /// The API key of `swift-pay`.
    pub(super) swift_pay: String,
}

impl fmt::Debug for AccessDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessDetails")
    }
}

/// The shell variable that holds the header of an API key; `None` for a certificate.
fn variable(credential: Credential) -> Option<&'static str> {
    match credential {
        Credential::ServiceDesk => Some("desk"),
        Credential::Reseller => Some("resale"),
        Credential::PaymentProcessor => Some("pay"),
        Credential::Unregistered => Some("nobody"),
        Credential::Registrar => None,
    }
}

impl AccessDetails {
    /// Returns the API key of a credential; `None` for one that is a certificate.
    pub(super) fn key(&self, credential: Credential) -> Option<&str> {
        match credential {
            Credential::ServiceDesk => Some(&self.service_desk),
            Credential::Reseller => Some(&self.north_resale),
            Credential::PaymentProcessor => Some(&self.swift_pay),
            Credential::Unregistered => Some(UNREGISTERED),
            Credential::Registrar => None,
        }
    }

    /// Renders the assignments of the shell variables, one a line. `deploy/pgo.sh` reads the gateway's address, the
    /// authority's file and the first key from them.
    pub(super) fn variables(&self) -> String {
        let mut text = String::new();
        let mut set = |name: &str, value: &str| {
            let _ = writeln!(text, "{name}={}", quoted(value));
        };
        set("gateway", &self.gateway);
        set("admin", &self.admin);
        set("ca", &self.authority);
        set("cert", &self.certificate.0);
        set("key", &self.certificate.1);
        use Credential::{PaymentProcessor, Registrar, Reseller, ServiceDesk, Unregistered};
        for credential in [ServiceDesk, Reseller, PaymentProcessor, Registrar, Unregistered] {
            if let (Some(name), Some(key)) = (variable(credential), self.key(credential)) {
                set(name, &format!("Authorization: Bearer {key}"));
            }
        }
        text
    }
}

/// Renders a scene: its title, the expected responses, and the commands.
pub(super) fn scene_text(scene: &Scene) -> String {
    let mut text = String::new();
    let title = match scene.clause {
        "" => scene.title.to_owned(),
        clause => format!("{} ({clause})", scene.title),
    };
    comment(&mut text, &title, "");
    for step in &scene.steps {
        match step {
            SceneStep::Request(request, expected) => {
                comment(&mut text, &format!("expect: {}", expected.words()), "  ");
                let mut words = request_words(request);
                if expected.is_truncated() {
                    words.push("-o /dev/null".to_owned());
                }
                if request.long_answer {
                    words.push(format!("2>/dev/null | head -n {MAX_LINES}"));
                }
                text.push_str(&command(&words));
            }
            SceneStep::Event(event) => {
                comment(&mut text, "the person withdraws", "  ");
                text.push_str(&command(&event_words(event)));
            }
            SceneStep::RequestWithEvent { request, event, expected, .. } => {
                comment(&mut text, &format!("expect: {}", expected.words()), "  ");
                let excluded = quoted(expected.excluded_after_event().unwrap_or_default());
                let mut words = request_words(request);
                words.push(format!("| grep -c {excluded} &"));
                text.push_str(&command(&words));
                let mut words = event_words(event);
                words.insert(0, "sleep 1;".to_owned());
                words.push("&& wait".to_owned());
                text.push_str(&command(&words));
            }
        }
    }
    text
}

/// Appends a comment, in lines that fit the width.
fn comment(text: &mut String, words: &str, indent: &str) {
    for (at, line) in wrapped(words, WIDTH - 4).iter().enumerate() {
        let indent = if at == 0 { indent } else { "  " };
        let _ = writeln!(text, "# {indent}{line}");
    }
}

/// The words of a command for a request; a word does not break across lines.
fn request_words(request: &SceneRequest) -> Vec<String> {
    let mut words = vec!["curl -sS --cacert \"$ca\"".to_owned()];
    for &credential in &request.credentials {
        match variable(credential) {
            Some(name) => words.push(format!("-H \"${name}\"")),
            None => words.push("--cert \"$cert\" --key \"$key\"".to_owned()),
        }
    }
    if let Some(purpose) = request.purpose {
        words.push(format!("-H {}", quoted(&format!("Data-Purpose: {purpose}"))));
    }
    if request.method != Method::GET {
        words.push(format!("-X {}", request.method));
    }
    words.push(format!("\"$gateway{}\"", request.target));
    words
}

fn event_words(event: &SceneEvent) -> Vec<String> {
    vec![
        "curl -sS -H 'Content-Type: application/json'".to_owned(),
        format!("-d {}", quoted(&event.event.to_string())),
        format!("\"$admin/v1/subjects/{}/events\"", event.subject),
    ]
}

/// Joins words to a command; a line that would be too long continues on the next one.
fn command(words: &[String]) -> String {
    let (mut text, mut length) = (String::new(), 0);
    for word in words {
        let more = word.chars().count() + 1;
        if length > 0 && length + more > WIDTH - 2 {
            text.push_str(" \\\n  ");
            length = 2;
        } else if length > 0 {
            text.push(' ');
        }
        text.push_str(word);
        length += more;
    }
    text.push('\n');
    text
}

/// Quotes a text for a POSIX shell where it needs it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenes::sections;
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

    fn scene_texts() -> Vec<String> {
        let scenes = sections().into_iter().flat_map(|section| section.scenes);
        scenes.map(|scene| scene_text(&scene)).collect()
    }

    #[test]
    fn variables_hold_addresses_files_and_credentials() {
        let text = access().variables();
        assert!(text.starts_with("gateway=https://localhost:8443\nadmin=http://127.0.0.1:9901\n"), "{text}");
        assert!(text.contains("\nca='/tmp/a demo/certs/ca.pem'\n"), "{text}");
        assert!(text.contains("\ndesk='Authorization: Bearer pgk_desk_s'\n"), "{text}");
        assert!(text.contains("\ncert=certs/registrar.pem\nkey=certs/registrar.key\n"), "{text}");
    }

    #[test]
    fn commands_use_the_variables() {
        let all = scene_texts();
        assert_eq!(
            all[0],
            "# The service desk helps a customer (G-6.4f)\n\
             #   expect: contact, card summary and notes; no password, IP address, health or\n\
             #   unclassified field\n\
             curl -sS --cacert \"$ca\" -H \"$desk\" -H 'Data-Purpose: customer-support' \\\n  \
             \"$gateway/customers/c-00001\"\n"
        );
        assert!(all[2].contains("--cert \"$cert\" --key \"$key\""));
        assert!(all.iter().any(|lines| lines.contains("-X DELETE")));
        let last = all.last().unwrap();
        assert!(last.contains("| grep -c Ravnsborgtveit &\nsleep 1; curl -sS"), "{last}");
        assert!(last.ends_with("\"$admin/v1/subjects/c-09990/events\" && wait\n"), "{last}");
    }

    #[test]
    fn lines_fit_80_columns() {
        for text in scene_texts() {
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        }
    }

    #[test]
    fn texts_are_quoted_for_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!((quoted(""), quoted("a-b"), quoted("a?b")), ("''".into(), "a-b".into(), "'a?b'".into()));
    }
}
