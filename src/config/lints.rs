//! Warns about settings that are valid but can never work, or whose effect differs from their apparent meaning.
//!
//! The module does not look for errors: it checks a configuration that loads. Each warning can be acknowledged in the
//! table that it is about, and no warning changes the behavior of the gateway.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use http::Method;
use http::uri::Authority;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::mapping::LocatedMapping;
use super::stale;
use super::terms::PackTerms;
use super::{ClientAuthority, Config, ListenerSection, ListenerTls, TlsServer, UpstreamSection};
use crate::decision::{LegalReference, OperationForecast, PathNames, RecipientFacts};
use crate::document::{At, Document, Fields};
use crate::exchange::route::{Recipient, Route, RouteRequest};
use crate::finding::Finding;
use crate::policy::{Pack, RuleIndex};
use crate::scrub::{self, FactKey, FieldMapping, RecordMapping};
use crate::vocabulary::{Basis, CategoryId, EEA, KindId, Operation, PurposeId, Safeguard};

/// Codes of the warnings that are dropped if there is an error: the error may be their cause.
pub(super) const CODES_AFTER_LOADING: &[&str] = &[
    "agreement-ended",
    "agreement-missing",
    "allow-unused",
    "approvers-unverified",
    "authority-without-crl",
    "category-members-differ",
    "certificate-ended",
    "crl-expired",
    "filter-tests-existence",
    "literal-parameter",
    "locked-purpose-not-registered",
    "names-leave",
    "operation-names-nobody",
    "pack-without-not-personal",
    "personal-without-subject",
    "purpose-without-rule",
    "recipient-without-credentials",
    "recipient-without-purposes",
    "recipient-without-region",
    "record-set-without-fields",
    "retention-without-created",
    "route-without-fields",
    "route-without-methods",
    "route-without-purposes",
    "transfer-without-safeguard",
    "upstream-is-own-listener",
];

/// Checks the files of a configuration that loads.
pub(super) fn check<'d>(documents: impl Iterator<Item = &'d Document<'d>>, config: &Config, now: Timestamp) {
    let today = now.to_zoned(TimeZone::UTC).date();
    let mut operations = OperationLints::new(config);
    for (at, document) in documents.enumerate() {
        let mut root = document.root("a file of the configuration");
        // Only the first file has `[admin]`.
        if at == 0 {
            check_approvers(&mut root, config);
        }
        if !root.texts("policy").is_empty() {
            check_pack(&mut root, config.packs.first());
        }
        // Only the first file has listeners.
        for (fields, listener) in root.tables("listener", "a listener").into_iter().zip(&config.listeners) {
            check_tls(fields, listener.tls.as_ref(), now);
        }
        if config.admin.tls.is_some()
            && let Some(fields) = root.fields("admin", "`[admin]`")
        {
            check_tls(fields, config.admin.tls.as_ref(), now);
        }
        for fields in root.tables("upstream", "an upstream") {
            check_upstream(fields, config);
        }
        for mut fields in root.tables("recipient", "a recipient") {
            let name = fields.text("name");
            let named = |recipient: &&Arc<Recipient>| {
                name.as_ref().is_some_and(|name| *recipient.name == *name.value)
            };
            if let Some(recipient) = config.recipients.iter().find(named) {
                RecipientLints { fields, recipient, config }.check(today);
            }
        }
        for mut fields in root.tables("route", "a route") {
            let name = fields.text("name");
            let named = |route: &&Arc<Route>| name.as_ref().is_some_and(|name| *route.name == *name.value);
            if let Some(route) = config.routes.iter().find(named) {
                check_pack(&mut fields, config.packs.get(route.pack));
                operations.check(&mut fields, route);
                stale::check(&mut fields, route, config.ledger.max_staleness);
            }
        }
    }
}

/// Warns about a pack without a rule for data that is not personal: it withholds fields that are mapped as `non-personal`.
fn check_pack(fields: &mut Fields<'_>, versions: Option<&Vec<Arc<Pack>>>) {
    let Some(named) = fields.texts("policy").into_iter().next() else { return };
    let mut rules = versions.into_iter().flatten().flat_map(|pack| pack.rulebook().rules());
    if rules.any(|rule| rule.basis == Some(Basis::NotPersonal)) {
        return;
    }
    let finding = Finding::warning(
        "pack-without-not-personal",
        "no rule of this pack releases what is not personal: fields that are `non-personal` are withheld",
    );
    let hint = "add a `permit` with `@basis(\"not-personal\")` for `Category::\"non-personal\"`";
    fields.document().find(finding.label("withholds everything else, too").hint(hint), named.at);
}

/// Finds routes on which a recipient can never change data: its rules are about its own data, and the path does not name
/// the person or the account.
struct OperationLints<'c> {
    config: &'c Config,
    /// Forecasts, one for each version of each pack.
    foresights: Vec<Vec<OperationForecast<'c>>>,
}

impl<'c> OperationLints<'c> {
    fn new(config: &'c Config) -> OperationLints<'c> {
        let versions =
            |versions: &'c Vec<Arc<Pack>>| versions.iter().map(|pack| OperationForecast::new(pack)).collect();
        OperationLints { config, foresights: config.packs.iter().map(versions).collect() }
    }

    fn check(&mut self, fields: &mut Fields<'_>, route: &Route) {
        let mut refused: Vec<String> = Vec::new();
        for recipient in &self.config.recipients {
            let mut needs = |method: &&Method| self.needs_other_names(route, recipient, method);
            let methods: Vec<&str> = route.methods.iter().filter(&mut needs).map(Method::as_str).collect();
            if !methods.is_empty() {
                refused.push(format!("`{}` {}", recipient.name, methods.join(", ")));
            }
        }
        if refused.is_empty() {
            return;
        }
        let message = format!(
            "the path of route `{}` does not say whose data are changed: refused to {}",
            route.name,
            refused.join("; ")
        );
        let at = fields.item("methods").or_else(|| fields.item("operation"));
        let at = at.map_or(fields.at(), |item| item.at());
        let finding = Finding::warning("operation-names-nobody", message)
            .label("their rules are about what is their own");
        let hint = "name the person or the account with a parameter of the path: `subject = \"{id}\"`, `controller = \"{account}\"`, \
                    beside where the record names them; or take the method out";
        fields.document().find(finding.hint(hint), at);
    }

    /// True if, for some purpose of the recipient, the operation is refused only because the path does not name the person
    /// and the account.
    fn needs_other_names(&mut self, route: &Route, recipient: &Recipient, method: &Method) -> bool {
        if route.operation(method) == Operation::Disclose {
            return false;
        }
        let facts = &recipient.in_agreement;
        let versions = self.config.packs.get(route.pack).into_iter().flatten();
        let foresights = self.foresights.get_mut(route.pack).into_iter().flatten();
        versions.zip(foresights).any(|(pack, foresight)| {
            let words = pack.vocabulary();
            let registered = |purpose: &PurposeId| facts.is_registered_for(words, *purpose);
            words.purposes().ids().filter(registered).any(|purpose| {
                let request = RouteRequest {
                    recipient: Arc::clone(facts),
                    purpose,
                    method,
                    exporter_region: &self.config.exporter_region,
                    legal_reference: LegalReference::None,
                };
                let Ok(asking) = route.admission_request(words, request) else { return false };
                let mut foreseen = |names| foresight.carries_out(&asking, route.classes(), names) == Ok(true);
                !foreseen(route.path_names()) && foreseen(PathNames { subject: true, controller: true })
            })
        })
    }
}

/// Warns about approvals that anybody can give under any name.
fn check_approvers(root: &mut Fields<'_>, config: &Config) {
    let needs_case = |recipient: &&Arc<Recipient>| {
        config.vocabulary.legal_reference_for(recipient.in_agreement.kind).is_some()
    };
    let Some(recipient) = config.recipients.iter().find(needs_case) else { return };
    if !config.admin.actors.is_empty() {
        return;
    }
    let at = root.fields("admin", "`[admin]`").map_or(root.at(), |fields| fields.at());
    let finding = Finding::warning(
        "approvers-unverified",
        format!("who approves a case of `{}` is not verified", recipient.name),
    );
    let hint = "add `tokens` to `[admin]`, one for each approver, with `roles = [\"cases\"]`: without them a name that is given counts";
    root.document().find(finding.label("without actors").hint(hint), at);
}

/// Warns about the certificate and the revocation lists of a listener.
fn check_tls(mut fields: Fields<'_>, tls: Option<&ListenerTls>, now: Timestamp) {
    let Some((mut fields, tls)) = fields.fields("tls", "`tls`").zip(tls) else { return };
    check_certificate(&mut fields, tls, now);
    if let Ok(TlsServer { client_authority: Some(authority), .. }) = &tls.server {
        check_revocation_lists(&mut fields, authority, now);
    }
}

fn check_certificate(fields: &mut Fields<'_>, tls: &ListenerTls, now: Timestamp) {
    let ends = tls.not_after.and_then(|ends| Timestamp::from_second(ends).ok());
    let Some(ended) = ends.filter(|ends| *ends < now) else { return };
    let at = fields.item("certificate").map_or(fields.at(), |item| item.at());
    let finding = Finding::warning("certificate-ended", format!("this certificate expired at {ended}"));
    let hint = "renew it: clients refuse the connection";
    fields.document().find(finding.label("expired").hint(hint), at);
}

fn check_revocation_lists(fields: &mut Fields<'_>, authority: &ClientAuthority, now: Timestamp) {
    let at = fields.item("crl").map_or(fields.at(), |item| item.at());
    for list in authority.lists.iter().filter(|list| list.next_update <= now) {
        let message = format!("the revocation list {} expired at {}", list.file.display(), list.next_update);
        let hint = "replace it by the authority's current list: until then client certificates of this authority are refused";
        let finding = Finding::warning("crl-expired", message).label("expired").hint(hint);
        fields.document().find(finding, at.clone());
    }
    for name in &authority.without_list {
        let message = format!("the authority \"{name}\" of `client-ca` has no revocation list");
        let hint = "add its list to `crl`: client certificates whose status is not known are refused";
        let finding = Finding::warning("authority-without-crl", message).label("has none of it").hint(hint);
        fields.document().find(finding, at.clone());
    }
}

fn check_upstream(mut fields: Fields<'_>, config: &Config) {
    let url = fields.item("url").or_else(|| fields.item("urls"));
    let (Some(name), Some(url)) = (fields.text("name"), url) else { return };
    let Some(upstream) = config.upstreams.iter().find(|upstream| *upstream.name == *name.value) else {
        return;
    };
    let Some(what) = own_listener(upstream, &config.listeners, config.admin.address) else { return };
    let finding = Finding::warning("upstream-is-own-listener", format!("this upstream is {what}"));
    let hint = "name the address of the API itself: the gateway would ask itself";
    fields.document().find(finding.label("the gateway itself").hint(hint), url.at());
}

/// Returns a description of this gateway's listener if an address of the upstream leads to it.
fn own_listener(
    upstream: &UpstreamSection,
    listeners: &[ListenerSection],
    admin: SocketAddr,
) -> Option<&'static str> {
    upstream.origins.iter().find_map(|origin| {
        let (host, port) = (origin.host().to_ascii_lowercase(), origin.port());
        let public = |listener: &ListenerSection| {
            let named = listener.authorities.iter().any(|served| {
                let served: Option<Authority> = served.parse().ok();
                served.is_some_and(|served| served.host().eq_ignore_ascii_case(&host))
            });
            listener.address.port() == port && (named || leads_to(&host, listener.address.ip()))
        };
        if listeners.iter().any(public) {
            return Some("a listener of this gateway");
        }
        (admin.port() == port && leads_to(&host, admin.ip())).then_some("the admin listener of this gateway")
    })
}

/// True if a connection from this machine to `host` reaches a socket bound to `bound`.
fn leads_to(host: &str, bound: IpAddr) -> bool {
    let Ok(address) = host.parse::<IpAddr>() else {
        let local = host == "localhost" || host.ends_with(".localhost");
        return local && (bound.is_loopback() || bound.is_unspecified());
    };
    let (address, bound) = (address.to_canonical(), bound.to_canonical());
    // A connection to the unspecified address reaches this machine.
    let local = address.is_loopback() || address.is_unspecified();
    address == bound || local && bound.is_unspecified() || address.is_unspecified() && bound.is_loopback()
}

/// A recipient and its table.
struct RecipientLints<'d, 'c> {
    fields: Fields<'d>,
    recipient: &'c Recipient,
    config: &'c Config,
}

impl RecipientLints<'_, '_> {
    fn check(mut self, today: Date) {
        self.check_credentials();
        self.check_purposes();
        self.check_agreement(today);
        self.check_transfers();
    }

    fn warn(&self, finding: Finding, at: Range<usize>) {
        self.fields.document().find(finding, at);
    }

    fn facts(&self) -> &RecipientFacts {
        &self.recipient.in_agreement
    }

    fn check_credentials(&mut self) {
        let credentials = self.fields.tables("credentials", "a credential");
        if credentials.is_empty() {
            let words = format!("nobody can be `{}`: it has no credentials", self.recipient.name);
            let kinds = self.config.vocabulary.kinds();
            let is = |kind: &str| kinds.find(kind).is_some_and(|kind| kinds.within(self.facts().kind, kind));
            let hint = match (is("data-subject"), is("customer-administrator")) {
                (true, _) => "add `jwt = { issuer = …, claims = { … }, subject-claim = \"sub\" }`".to_owned(),
                (_, true) => {
                    "add `jwt = { issuer = …, claims = { … }, controller-claim = \"…\" }`".to_owned()
                }
                _ => format!("`purposegate recipient key {}` makes a key and its line", self.recipient.name),
            };
            let finding =
                Finding::warning("recipient-without-credentials", words).label("has no credentials");
            self.warn(finding.hint(hint), self.fields.at());
        }
        for mut credential in credentials {
            let Some(locked) = credential.text("purpose") else { continue };
            let words = &self.config.vocabulary;
            let purpose = words.declared_purpose(locked.value).ok();
            if purpose.is_some_and(|purpose| !self.facts().is_registered_for(words, purpose)) {
                let message = format!("`{}` is not registered for `{}`", self.recipient.name, locked.value);
                let finding = Finding::warning("locked-purpose-not-registered", message);
                let hint = "add it to `purposes`, or every request with this credential is refused";
                self.warn(finding.label("is refused").hint(hint), locked.at);
            }
        }
    }

    fn check_purposes(&mut self) {
        let named = self.fields.texts("purposes");
        if named.is_empty() {
            let words = format!("`{}` is registered for no purpose", self.recipient.name);
            let finding = Finding::warning("recipient-without-purposes", words).label("has no purpose");
            self.warn(
                finding.hint("add `purposes = [\"…\"]`: every request of it is refused"),
                self.fields.at(),
            );
        }
        let words = &self.config.vocabulary;
        let (kinds, kind) = (words.kinds(), self.facts().kind);
        for name in named {
            let Ok(purpose) = words.declared_purpose(name.value) else { continue };
            if self.covered(purpose).any(|(pack, purpose)| releases_personal(pack, kind, purpose)) {
                continue;
            }
            let possible =
                |(pack, purpose): (&Pack, _)| pack.rulebook().can_permit(kind, purpose, Operation::Disclose);
            let what = if self.covered(purpose).any(possible) { "anything personal" } else { "anything" };
            let message =
                format!("no rule releases {what} to the kind `{}` for `{}`", kinds.name(kind), name.value);
            let finding = Finding::warning("purpose-without-rule", message).label("releases nothing");
            let hint = "`purposegate policy matrix` shows what each kind receives; take the purpose out or change the policy";
            self.warn(finding.hint(hint), name.at);
        }
    }

    /// Returns the purposes that a registration for `purpose` covers, in each pack: the purpose and those below it.
    fn covered(&self, purpose: PurposeId) -> impl Iterator<Item = (&Pack, PurposeId)> {
        self.config.packs.iter().flatten().flat_map(move |pack| {
            let tree = pack.vocabulary().purposes();
            let covered = tree.ids().filter(move |covered| tree.within(*covered, purpose));
            covered.map(move |covered| (&**pack, covered))
        })
    }

    fn check_agreement(&mut self, today: Date) {
        let kind = self.facts().kind;
        match &self.recipient.agreement {
            None if self.config.vocabulary.needs_agreement(kind) => {
                let name = self.config.vocabulary.kinds().name(kind);
                let message = format!("a `{name}` receives nothing without an agreement");
                let finding = Finding::warning("agreement-missing", message).label("needs an agreement");
                let at = self.fields.item("kind").map_or(self.fields.at(), |item| item.at());
                let hint = "add `agreement = { reference = \"…\", until = 2027-06-30 }` once there is one";
                self.warn(finding.hint(hint), at);
            }
            Some(agreement) => {
                let Some(until) = agreement.until.filter(|until| *until < today) else { return };
                let mut table = self.fields.fields("agreement", "`agreement`");
                let at = table.as_mut().and_then(|table| Some(table.item("until")?.at()));
                let message = format!("the agreement with `{}` ended on {until}", self.recipient.name);
                let finding = Finding::warning("agreement-ended", message).label("in the past");
                let hint = "write the new end, or take the recipient out";
                self.warn(finding.hint(hint), at.unwrap_or(self.fields.at()));
            }
            None => {}
        }
    }

    fn check_transfers(&mut self) {
        if self.facts().safeguard != Safeguard::None || &*self.config.exporter_region != EEA {
            return;
        }
        let regions = self.config.vocabulary.regions();
        let of_country = || regions.of_country(self.facts().country.as_deref()?);
        let region = self.facts().region.clone().or_else(of_country);
        let stated = ["region", "country"].into_iter().find_map(|key| Some(self.fields.item(key)?.at()));
        let name = &self.recipient.name;
        let hint = "add `safeguard = \"…\"`; without one, data of people in the EEA leave to it only with their consent to the transfer";
        match (region, stated) {
            (Some(region), Some(at)) if &*region != EEA => {
                let message = format!("`{name}` is outside the EEA ({region}) and has no safeguard");
                let finding = Finding::warning("transfer-without-safeguard", message);
                self.warn(finding.label("a transfer to a third country").hint(hint), at);
            }
            (None, _) => {
                let message = format!("`{name}` is in no region: what it receives is a transfer");
                let finding = Finding::warning("recipient-without-region", message).label("has no `country`");
                self.warn(finding.hint("add `country = \"…\"`, an ISO 3166 code"), self.fields.at());
            }
            (Some(_), _) => {}
        }
    }
}

/// True if a rule can release personal data to this kind of recipient for this purpose.
fn releases_personal(pack: &Pack, kind: KindId, purpose: PurposeId) -> bool {
    let rulebook = pack.rulebook();
    let rests_on_more = |at: &RuleIndex| {
        let basis = rulebook.rule(*at).and_then(|rule| rule.basis);
        basis.is_some_and(|basis| basis != Basis::NotPersonal)
    };
    let cells = pack.vocabulary().categories().ids().filter_map(|id| rulebook.cell(kind, purpose, id));
    cells.filter(|cell| !cell.never_releases()).any(|cell| cell.rules().iter().any(rests_on_more))
}

/// Checks a route's path, methods and purposes.
pub(super) fn check_route(fields: &mut Fields<'_>) {
    let document = fields.document();
    if let Some(path) = fields.text("path") {
        check_pattern(document, &path);
    }
    for (key, code, never) in [
        ("methods", "route-without-methods", "this route serves no method"),
        ("purposes", "route-without-purposes", "this route serves no purpose"),
    ] {
        if let Some(item) = fields.item(key).filter(|item| item.items().is_empty()) {
            let finding = Finding::warning(code, never).label("no request is served");
            document
                .find(finding.hint("list what it serves, or take the key out for the default"), item.at());
        }
    }
}

/// Warns about parameters in the notation of other proxies, which are literal text here.
fn check_pattern(document: &Document<'_>, path: &At<&str>) {
    let foreign = |segment: &&str| {
        segment.starts_with(':')
            || segment.contains('*')
            || segment.starts_with('<') && segment.ends_with('>')
    };
    let braced = |segment: &&str| segment.starts_with('{');
    for segment in path.value.split('/').filter(foreign).filter(|segment| !braced(segment)) {
        let name = segment.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        let meant = match name {
            "" => "{*rest}".to_owned(),
            name => format!("{{{name}}}"),
        };
        let finding = Finding::warning(
            "literal-parameter",
            format!("`{segment}` is matched letter by letter: it is no parameter"),
        );
        let hint = format!("write `{meant}`: `{{name}}` for one segment, `{{*rest}}` for all that follow");
        document.find(finding.label("taken literally").hint(hint), path.at.clone());
    }
}

/// Warns about record sets that do not say how old a record is, although a pack limits for how long it is released.
pub(super) fn check_retention(sets: &[LocatedMapping<'_>], packs: &[Arc<Pack>]) {
    let limited = |&category: &CategoryId| {
        let limits = |pack: &&Arc<Pack>| pack.manifest().retention(pack.vocabulary(), category).is_some();
        packs.iter().find(limits).map(|pack| pack.vocabulary().categories().name(category))
    };
    for set in sets {
        if set.mapping.facts.iter().any(|(fact, _)| *fact == FactKey::Created) {
            continue;
        }
        let mut fields = set.mapping.fields.iter();
        let found = fields.find_map(|field| Some((field, field.categories.iter().find_map(limited)?)));
        let Some((field, category)) = found else { continue };
        let finding = Finding::warning(
            "retention-without-created",
            format!("the pack has a retention period for `{category}`, and nothing says how old a record is"),
        );
        let hint = "add `facts = { created = \"@.created_at\" }` to the record it stands in; without it, data of any age leave";
        set.warn(finding.label("never past its period").hint(hint), &field.path);
    }
}

/// Checks the record sets of a personal route. `releases_unclassified` is true if unclassified fields are released.
pub(super) fn check_records(
    sets: &[LocatedMapping<'_>],
    words: &PackTerms<'_>,
    route: &str,
    table: (&Document<'_>, Range<usize>),
    releases_unclassified: bool,
) {
    if !releases_unclassified && sets.iter().all(|set| set.mapping.fields.is_empty()) {
        let message = format!("route `{route}` has no field: nothing leaves but brackets and braces");
        let finding = Finding::warning("route-without-fields", message).label("maps nothing");
        table.0.find(finding.hint("add `[route.fields]` with a category for each path"), table.1);
    }
    let somebodys =
        |categories: &[CategoryId]| categories.iter().find(|id| words.vocabulary.has_owner(**id)).copied();
    let mappings: Vec<RecordMapping> = sets.iter().map(|set| set.mapping.clone()).collect();
    for set in sets {
        let without_subject = |field: &&FieldMapping| set.mapping.is_without_subject(&field.path, &mappings);
        let fields = set.mapping.fields.iter().filter(without_subject);
        let personal = fields.filter_map(|field| Some((field, somebodys(&field.categories)?)));
        if let Some((field, category)) = personal.clone().next() {
            let category = words.vocabulary.categories().name(category);
            let message = match personal.count() {
                1 => format!("nothing says whose `{category}` this is on route `{route}`: it never leaves"),
                2 => format!(
                    "nothing says whose `{category}` this is on route `{route}`: it never leaves, nor does another field"
                ),
                count => format!(
                    "nothing says whose `{category}` this is on route `{route}`: it never leaves, nor do {} more fields",
                    count - 1
                ),
            };
            let finding = Finding::warning("personal-without-subject", message).label("has no subject");
            set.warn(finding.hint("add `subject = \"@.id\"` to the record it stands in"), &field.path);
        }
        check_paths(set, words);
    }
}

fn check_paths(set: &LocatedMapping<'_>, words: &PackTerms<'_>) {
    let fields = set.mapping.fields.iter().map(|field| &field.path);
    for path in fields.chain([&set.mapping.path]).filter(|path| matches_any_name(path)) {
        let message = format!("the names that `{path}` goes through leave with what is below them");
        let finding = Finding::warning("names-leave", message).label("names are not scrubbed");
        let hint = "where they are data (people by their addresses), map the object around them as a whole; else acknowledge this";
        set.warn(finding.hint(hint), path);
    }
    let open = |name: &str| words.vocabulary.categories().find(name);
    let open = [open("non-personal"), open("published")];
    let tree = words.vocabulary.categories();
    let is_open = |id: &CategoryId| open.iter().flatten().any(|open| tree.within(*id, *open));
    let released = set.mapping.fields.iter().filter(|field| field.categories.iter().any(is_open));
    for field in released.filter(|field| scrub::tests_existence(&field.path)) {
        let message = format!("`{}` asks whether a member is there, not whether it is true", field.path);
        let finding = Finding::warning("filter-tests-existence", message).label("true for `false` as well");
        set.warn(finding.hint("compare it: `?@.public == true`"), &field.path);
    }
}

/// True if a query passes through members of any name: `.*`, as for a map, or `..`. A `[*]` is taken for the elements of
/// an array.
fn matches_any_name(path: &str) -> bool {
    let (mut depth, mut quote, mut before) = (0_u32, None, ' ');
    for char in path.chars() {
        match (quote, char) {
            (Some(open), char) if char == open && before != '\\' => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(char),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            (None, '*' | '.') if depth == 0 && before == '.' => return true,
            (None, _) => {}
        }
        before = char;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_matched_by_stars_outside_of_brackets() {
        for path in ["$.members.*", "$..email", "@.a.*.b", "$.*", "@['x'].*", "$..*"] {
            assert!(matches_any_name(path), "{path}");
        }
        for path in ["$.items[*]", "@.a", "@['a.*']", "@[\"..\"]", "@.a[?@.b.* == 1]", "@['a\\'..']", "$"] {
            assert!(!matches_any_name(path), "{path}");
        }
    }

    #[test]
    fn a_host_leads_to_the_sockets_bound_to_its_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap_or(IpAddr::from([9, 9, 9, 9]));
        for (host, bound) in [
            ("127.0.0.1", "127.0.0.1"),
            ("localhost", "127.0.0.1"),
            ("localhost", "::1"),
            ("localhost", "0.0.0.0"),
            ("127.0.0.1", "0.0.0.0"),
            ("0.0.0.0", "127.0.0.1"),
            ("::1", "::"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("10.0.0.7", "10.0.0.7"),
        ] {
            assert!(leads_to(host, ip(bound)), "{host} {bound}");
        }
        for (host, bound) in
            [("10.0.0.7", "127.0.0.1"), ("crm.internal", "0.0.0.0"), ("127.0.0.1", "10.0.0.7")]
        {
            assert!(!leads_to(host, ip(bound)), "{host} {bound}");
        }
    }
}
