//! `[admin]`: the admin listener, and who may use it for what.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

use governor::Quota;

use super::address;
use super::listener::{ListenerTls, listener_tls};
use crate::config::{Part, credential, rate};
use crate::credentials::{self, KeyHash};
use crate::document::{At, Document, Fields};
use crate::exchange::caller::{CertificateName, Credentials};
use crate::finding::Finding;
use crate::ledger::Approver;

/// Default address of the admin listener.
const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9901);
/// Default number of requests that each actor can send at once.
const DEFAULT_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(399);
/// Default number of requests that each actor can send in a second.
const DEFAULT_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(199);
/// Maximum length of the name of an actor, in bytes.
const MAX_ACTOR_NAME: usize = 128;

/// `[admin]`: the admin listener.
#[derive(Clone, Debug)]
pub struct AdminSection {
    /// Address to bind.
    pub address: SocketAddr,
    /// Host names by which the listener may be asked, beside IP addresses and `localhost`.
    pub authorities: Vec<String>,
    /// TLS. `None`: plaintext.
    pub tls: Option<ListenerTls>,
    /// The actors that have credentials.
    pub actors: AdminActors,
    /// The rate of requests of each actor.
    pub rate: Quota,
}

impl Default for AdminSection {
    fn default() -> Self {
        AdminSection {
            address: DEFAULT_ADDRESS,
            authorities: Vec::new(),
            tls: None,
            actors: AdminActors::default(),
            rate: Quota::per_second(DEFAULT_PER_SECOND).allow_burst(DEFAULT_BURST),
        }
    }
}

/// The actors of the admin API, by their credentials. Without any the API has no authentication.
#[derive(Clone, Debug, Default)]
pub struct AdminActors {
    /// By the SHA-256 of the token.
    pub tokens: HashMap<KeyHash, Arc<AdminActor>>,
    /// By a name of the client certificate.
    pub certificates: HashMap<CertificateName, Arc<AdminActor>>,
}

impl AdminActors {
    /// Returns the actor of a token.
    pub fn of_token(&self, token: &[u8]) -> Option<&Arc<AdminActor>> {
        self.tokens.get(&credentials::hash(token))
    }

    /// True if nobody has a credential.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.certificates.is_empty()
    }
}

/// A person or a program that uses the admin API under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminActor {
    /// The name under which acts are recorded.
    pub name: Arc<str>,
    /// The resources that the actor may use.
    pub roles: Vec<AdminRole>,
}

/// A set of resources of the admin API. `docs/admin-api.md` has the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminRole {
    /// Reads what is loaded, and asks for access evaluations.
    Read,
    /// Records and reads events of the ledger.
    Ledger,
    /// Reads what is on record about a person, and answers their requests.
    Privacy,
    /// Registers, approves and ends disclosure cases.
    Cases,
    /// Watches the process, and suspends recipients.
    Operator,
}

impl AdminRole {
    /// All roles.
    pub const ALL: [AdminRole; 5] =
        [AdminRole::Read, AdminRole::Ledger, AdminRole::Privacy, AdminRole::Cases, AdminRole::Operator];

    /// Returns the name of the role in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            AdminRole::Read => "read",
            AdminRole::Ledger => "ledger",
            AdminRole::Privacy => "privacy",
            AdminRole::Cases => "cases",
            AdminRole::Operator => "operator",
        }
    }
}

/// Reads the section. `recipients` are the credentials of the recipients: none of them may open the admin API.
pub(in crate::config) fn admin(part: &mut Part<'_>, recipients: &Credentials) -> AdminSection {
    let default = AdminSection::default();
    let Some(mut fields) = part.fields.fields("admin", "`[admin]`") else { return default };
    let document = fields.document();
    fields.allow();
    let configured = fields.text("address").and_then(|text| address(document, text));
    let authorities = fields.texts("authorities").iter().filter_map(|name| host(document, name)).collect();
    let tls = fields.fields("tls", "`[admin.tls]`");
    let has_tls = tls.is_some();
    let tls = tls.and_then(|fields| listener_tls(part, fields));
    let has_client_ca = tls.as_ref().is_some_and(|tls| tls.files.client_ca.is_some());
    let rate = fields.fields("rate", "`rate`").and_then(rate::quota).unwrap_or(default.rate);
    let is_local = configured.as_ref().is_none_or(|address| address.value.ip().is_loopback());
    let actors = actors(&mut fields, recipients, is_local && !has_tls);
    if !has_client_ca && !actors.certificates.is_empty() {
        fields.missing("tls.client-ca");
    }
    // With tokens, the authority can be a second condition: `client-certificate = "required"`.
    if has_client_ca && actors.is_empty() {
        fields.missing("certificates");
    }
    fields.end();
    if let Some(At { value: address, at }) = configured.clone()
        && !address.ip().is_loopback()
        && (!has_tls || actors.is_empty())
    {
        find_exposed(document, &address, at);
    }
    let address = configured.map_or(default.address, |address| address.value);
    AdminSection { address, authorities, tls, actors, rate }
}

fn find_exposed(document: &Document<'_>, address: &SocketAddr, at: Range<usize>) {
    let finding = Finding::error(
        "admin-not-loopback",
        format!("beyond the loopback, as on {}, the admin listener needs TLS and actors", address.ip()),
    );
    let hint = "use 127.0.0.1, or add `tls.certificate` and `tls.key`, and `tokens` or, with `tls.client-ca`, `certificates`";
    document.find(finding.label("reached from elsewhere").hint(hint), at);
}

/// Reads a host name without a port.
fn host(document: &Document<'_>, name: &At<&str>) -> Option<String> {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if name.value.split('.').all(is_label) {
        return Some(name.value.to_ascii_lowercase());
    }
    let finding = Finding::error("bad-host-name", format!("`{}` is not a host name", name.value));
    let hint = "write a name without scheme and port: `admin.internal.example`";
    document.find(finding.hint(hint), name.at.clone());
    None
}

fn find_plaintext(document: &Document<'_>, at: Range<usize>) {
    let finding = Finding::warning("plaintext-admin-tokens", "`[admin]` has tokens and no TLS");
    let hint = "add `tls.certificate` and `tls.key`: browsers send the cookie of the console in plaintext to each port of 127.0.0.1, so every program on this machine that somebody opens in the same browser can read it";
    document.find(finding.label("opens a session without TLS").hint(hint), at);
}

/// Reads `tokens` and `certificates`. `in_plaintext`: the listener is on the loopback and has no TLS.
fn actors(fields: &mut Fields<'_>, recipients: &Credentials, in_plaintext: bool) -> AdminActors {
    let mut actors = AdminActors::default();
    let mut names = HashSet::new();
    for (number, mut token) in fields.tables("tokens", "a token").into_iter().enumerate() {
        if in_plaintext && number == 0 {
            find_plaintext(token.document(), token.at());
        }
        let hash = token.needed_text("hash").and_then(|hash| token_hash(token.document(), &hash, recipients));
        let document = token.document();
        if let Some((actor, At { value: hash, at })) = actor(token, &mut names).zip(hash)
            && actors.tokens.insert(hash, Arc::new(actor)).is_some()
        {
            find_duplicate(document, at);
        }
    }
    for mut certificate in fields.tables("certificates", "a certificate") {
        let name = certificate.needed_text("certificate");
        let document = certificate.document();
        if let Some((actor, At { value: name, at })) = actor(certificate, &mut names).zip(name)
            && actors.certificates.insert(CertificateName::of_registration(name), Arc::new(actor)).is_some()
        {
            find_duplicate(document, at);
        }
    }
    actors
}

fn find_duplicate(document: &Document<'_>, at: Range<usize>) {
    let finding = Finding::error("duplicate-credential", "this credential is registered twice");
    document.find(finding.label("the second time").hint("a credential names one actor"), at);
}

/// Reads the hash of a token. The key of a recipient opens no admin API: it travels on other ways.
fn token_hash(document: &Document<'_>, text: &At<&str>, recipients: &Credentials) -> Option<At<KeyHash>> {
    let Some(hash) = credential::hash(text.value) else {
        let finding =
            Finding::error("bad-key-hash", "this is not the hash of a token").label("not a SHA-256");
        let hint = "`purposegate admin token NAME` makes a token and prints its hash: `sha256:` and 64 hexadecimal digits";
        document.find(finding.hint(hint), text.at.clone());
        return None;
    };
    if recipients.has_key(&hash) {
        let finding = Finding::error("duplicate-credential", "this is the hash of a recipient's API key");
        let hint = "`purposegate admin token NAME` makes a token of its own";
        document.find(finding.label("registered for a recipient").hint(hint), text.at.clone());
    }
    Some(At { value: hash, at: text.at.clone() })
}

/// Reads name and roles. Two names that differ only in case and punctuation would be one person as approvers of a case.
fn actor(mut fields: Fields<'_>, names: &mut HashSet<String>) -> Option<AdminActor> {
    let (document, at) = (fields.document(), fields.at());
    let name = fields.needed_text("name");
    let words = AdminRole::ALL.map(|role| (role.name(), role));
    let listed = fields.item("roles").map(|item| item.items()).unwrap_or_default();
    let mut roles: Vec<AdminRole> = listed.iter().filter_map(|item| item.choice(&words)).collect();
    roles.sort_unstable();
    roles.dedup();
    fields.end();
    if listed.is_empty() {
        let known = crate::document::join(AdminRole::ALL.map(AdminRole::name));
        let finding = Finding::error("no-role", "this actor has no role").label("may do nothing");
        document.find(finding.hint(format!("add `roles = [\"read\"]`: one or more of {known}")), at);
    }
    let At { value: name, at } = name?;
    let approver = Approver(Arc::from(name));
    if !approver.has_distinct_characters() || name.len() > MAX_ACTOR_NAME {
        let finding = Finding::error("bad-actor-name", "this is not the name of an actor");
        let hint = "use the letters a to z, digits, spaces and `._@-`, at most 128: names that look alike must be one";
        document.find(finding.hint(hint), at.clone());
    }
    if !names.insert(approver.normalized()) {
        let finding =
            Finding::error("duplicate-name", format!("there are two actors with the name `{name}`"));
        let hint =
            "each token and certificate has a name of its own; case and punctuation do not distinguish two";
        document.find(finding.label("the second one").hint(hint), at);
    }
    Some(AdminActor { name: approver.0, roles })
}

#[cfg(test)]
impl AdminActors {
    /// Adds an actor with a token.
    pub(crate) fn with_token(mut self, token: &str, name: &str, roles: &[AdminRole]) -> AdminActors {
        let actor = AdminActor { name: Arc::from(name), roles: roles.to_vec() };
        self.tokens.insert(credentials::hash(token.as_bytes()), Arc::new(actor));
        self
    }

    /// Adds an actor with a client certificate.
    pub(crate) fn with_certificate(mut self, uri: &str, name: &str, roles: &[AdminRole]) -> AdminActors {
        let actor = AdminActor { name: Arc::from(name), roles: roles.to_vec() };
        self.certificates.insert(CertificateName::of_registration(uri), Arc::new(actor));
        self
    }
}
