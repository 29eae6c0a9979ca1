//! Reads `[[recipient]]`: kind, purposes, agreement and credentials of each recipient.

use std::path::PathBuf;
use std::sync::Arc;

use governor::RateLimiter;

use super::credential;
use super::issuer::Issuers;
use super::notify;
use super::rate;
use super::section::UniqueNames;
use super::terms::PackTerms;
use super::{Host, Part};
use crate::decision::RecipientFacts;
use crate::document::Fields;
use crate::exchange::caller::token::Tokens;
use crate::exchange::caller::{Credentials, HolderKind};
use crate::exchange::cancellation::CancellationLimit;
use crate::exchange::route::{Agreement, Notify, Recipient, RecipientContact, WithheldReport};
use crate::finding::Finding;
use crate::vocabulary::Safeguard;

/// The recipients of a configuration.
pub(super) struct RegisteredRecipients {
    pub(super) recipients: Vec<Arc<Recipient>>,
    pub(super) credentials: Credentials,
    /// The token issuers.
    pub(super) issuers: Issuers,
    /// Files that `notify` names.
    pub(super) files: Vec<PathBuf>,
}

/// Reads the recipients of all files.
pub(super) fn read_all(parts: &mut [Part<'_>], words: &PackTerms<'_>, host: Host) -> RegisteredRecipients {
    let mut issuers = Issuers::read_all(parts, host);
    let (mut recipients, mut files) = (Vec::new(), Vec::new());
    let mut credentials = Credentials::new(Tokens::new(issuers.take()));
    let mut names = UniqueNames::of("recipient");
    let tables = parts.iter_mut().flat_map(|part| {
        let folder = part.folder.to_owned();
        let tables = part.fields.tables("recipient", "a recipient");
        tables.into_iter().map(move |fields| (folder.clone(), fields))
    });
    for (position, (folder, mut fields)) in tables.enumerate() {
        fields.allow();
        let recipient = read(&mut fields, words, &mut names);
        let holder = recipient.as_ref().map(|recipient| recipient.holder);
        let notify = fields.fields("notify", "`notify`");
        let notify = notify.map(|fields| notify::read(fields, holder, &folder, &mut files));
        let recipient = recipient.map(|read| Recipient { notify: notify.unwrap_or_default(), ..read });
        credential::read_all(&mut fields, words, position, holder, &issuers, &mut credentials);
        fields.end();
        // A recipient with errors is left out. Positions are wrong then, but the configuration is not used.
        recipients.extend(recipient.map(Arc::new));
    }
    RegisteredRecipients { recipients, credentials, issuers, files }
}

/// Reads a recipient without `notify` and its credentials.
fn read(fields: &mut Fields<'_>, words: &PackTerms<'_>, names: &mut UniqueNames) -> Option<Recipient> {
    let document = fields.document();
    let name = fields.needed_text("name");
    let kind = fields.needed_text("kind").and_then(|kind| words.kind(document, &kind));
    let (country, region) = place(fields, words);
    let purposes = words.purposes(document, &fields.texts("purposes"));
    let safeguards: Vec<_> = Safeguard::ALL.iter().map(|safeguard| (safeguard.name(), *safeguard)).collect();
    let safeguard = fields.choice("safeguard", &safeguards).unwrap_or(Safeguard::None);
    let suspended = fields.flag("suspended") == Some(true);
    let reports = WithheldReport::ALL.map(|report| (report.name(), report));
    let report = fields.choice("report", &reports).unwrap_or_default();
    let agreement = fields.fields("agreement", "`agreement`").map(read_agreement);
    let rate = fields.fields("rate", "`rate`").and_then(rate::quota).map(RateLimiter::direct);
    let mut text = |key| fields.text(key).map(|text| Arc::from(text.value));
    let contact = RecipientContact {
        legal_name: text("legal-name"),
        address: text("address"),
        contact: text("contact"),
    };
    let name = names.add(document, &name?);
    let kind = kind?;
    let facts = |in_force: bool| {
        Arc::new(RecipientFacts {
            name: Arc::clone(&name),
            kind,
            country: country.clone(),
            region: region.clone(),
            purposes: purposes.clone(),
            agreement: in_force,
            safeguard,
            suspended,
        })
    };
    let (in_agreement, without_agreement) = (facts(true), facts(false));
    let cancellations = CancellationLimit::default();
    Some(Recipient {
        name,
        holder: HolderKind::of(kind, words.vocabulary.kinds()),
        in_agreement,
        without_agreement,
        agreement,
        report,
        rate,
        cancellations,
        notify: Notify::default(),
        contact,
    })
}

/// Reads `country` and `region`. A contradiction between the two is an error, because either may be right.
fn place(fields: &mut Fields<'_>, words: &PackTerms<'_>) -> (Option<Arc<str>>, Option<Arc<str>>) {
    let document = fields.document();
    let country = fields.text("country").and_then(|country| words.country(document, &country));
    let Some(written) = fields.text("region") else { return (country, None) };
    let region = words.region(document, &written);
    let regions = words.vocabulary.regions();
    if let (Some(country), Some(region)) = (&country, &region)
        && regions.contradict(country, region)
    {
        let right = regions.of_country(country).unwrap_or_default();
        let finding = Finding::error(
            "region-contradicts-country",
            format!("`{country}` does not lie in the region `{region}`"),
        )
        .label("contradicts `country`")
        .hint(format!("leave it out: the region of `{country}` is `{right}`"));
        document.find(finding, written.at);
    }
    (country, region)
}

/// Reads `agreement`. No decision depends on its type and reference: people read them.
fn read_agreement(mut fields: Fields<'_>) -> Agreement {
    let mut text = |key| fields.text(key).map(|text| Arc::from(text.value));
    let (agreement_type, reference) = (text("type"), text("reference"));
    let until = fields.date("until").map(|until| until.value);
    fields.end();
    Agreement { agreement_type, reference, until }
}
