//! The snapshot of the configuration that decides on a request.
//!
//! A reload replaces it as a whole. Invariant: an exchange takes one snapshot and keeps it to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderName;
use jiff::Timestamp;

use crate::decision::Decisions;
use crate::exchange::caller::Credentials;
use crate::exchange::pages::cache::PurposePages;
use crate::exchange::route::{Recipient, Routes};
use crate::policy::Pack;
use crate::texts::PageTexts;
use crate::vocabulary::Vocabulary;

/// One loaded configuration, compiled for requests.
#[derive(Debug)]
pub struct Snapshot {
    /// All routes.
    pub routes: Routes,
    /// All recipients, in the order that credentials refer to.
    pub recipients: Vec<Arc<Recipient>>,
    /// The credentials of all recipients.
    pub credentials: Credentials,
    /// The versions of each policy pack, in the order that routes refer to.
    pub packs: Vec<Versions>,
    /// The header in which recipients declare the purpose.
    pub purpose_header: HeaderName,
    /// The region that data is exported from.
    pub exporter_region: Arc<str>,
    /// The name of the epoch of pseudonymised values.
    pub pseudonym_epoch: Option<Arc<str>>,
    /// Maximum time that a request waits for the ledger's position that it names.
    pub max_staleness: Duration,
    /// A digest of the files that the configuration was read from.
    pub revision: Arc<str>,
    /// The languages of the pages that people receive.
    pub texts: Arc<PageTexts>,
    /// The addresses of the API that the configuration names, such as `https://api.example.org`.
    pub addresses: Vec<String>,
    /// Cache of the pages that tell recipients their purposes.
    pub purpose_pages: PurposePages,
}

impl Snapshot {
    /// The vocabulary that all packs share.
    pub fn words(&self) -> Arc<Vocabulary> {
        let first = self.packs.iter().flat_map(Versions::iter).next();
        first.map_or_else(|| Arc::new(Vocabulary::standard()), |first| Arc::clone(first.pack().vocabulary()))
    }
}

/// All loaded versions of one policy pack. Each is in force from its effective date until the next one's.
#[derive(Debug)]
pub struct Versions {
    /// Sorted by effective date.
    all: Vec<Arc<Decisions>>,
    /// The number of versions that have begun. If the clock is set back, no earlier version comes into force again.
    begun: AtomicUsize,
}

impl Versions {
    /// Versions in the order of their effective dates.
    pub fn new(packs: impl IntoIterator<Item = Arc<Pack>>) -> Versions {
        let all = packs.into_iter().map(|pack| Arc::new(Decisions::new(pack))).collect();
        Versions { all, begun: AtomicUsize::new(0) }
    }

    /// Returns the version in force at this instant, or at the latest instant of any earlier call; `None` before the
    /// first version.
    pub fn in_force(&self, now: Timestamp) -> Option<&Arc<Decisions>> {
        let has_begun = |version: &Arc<Decisions>| version.pack().manifest().effective_from() <= now;
        let by_now = self.all.iter().rposition(has_begun).map_or(0, |latest| latest + 1);
        let before = self.begun.load(Ordering::Relaxed);
        // Written once for each version, read by every exchange.
        let begun = if by_now > before {
            self.begun.fetch_max(by_now, Ordering::Relaxed).max(by_now)
        } else {
            before
        };
        self.all.get(begun.checked_sub(1)?)
    }

    /// Returns the instant from which the next version is in force, if there is one.
    pub fn changes_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.all.iter().map(|version| version.pack().manifest().effective_from()).find(|from| *from > now)
    }

    /// All versions, by effective date.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Decisions>> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Source;

    /// Returns a pack with one rule, in force from this day.
    fn pack_from(effective: &str) -> Arc<Pack> {
        let manifest = format!(
            "title = \"A pack\"\nversion = \"{effective}\"\nannounced = 2026-01-01\neffective = {effective}\n\
             contact = \"dpo\"\n[bases]\ncontract = \"a contract\"\n[[clauses]]\nid = \"C-1\"\ntitle = \"One\"\nkept = \"by-rules\"\n"
        );
        let rule = r#"@id("r") @clause("C-1") @basis("contract")
            permit (principal in Kind::"employee", action == Action::"mapping", resource == Category::"name");"#;
        let sources = [Source::new("pack.toml", manifest), Source::new("rules.cedar", rule)];
        Arc::new(Pack::load(&sources).unwrap())
    }

    #[test]
    fn a_version_is_in_force_from_the_start_of_its_day() {
        let versions = Versions::new(["2026-01-05", "2026-12-01"].map(pack_from));
        let at = |instant: &str| instant.parse::<Timestamp>().unwrap();
        let in_force = |instant| {
            let version = versions.in_force(at(instant))?;
            Some(version.pack().manifest().effective.to_string())
        };
        assert_eq!(in_force("2026-01-04T23:59:59.999Z"), None);
        assert_eq!(in_force("2026-01-05T00:00:00Z").unwrap(), "2026-01-05");
        assert_eq!(in_force("2026-11-30T23:59:59.999Z").unwrap(), "2026-01-05");
        assert_eq!(in_force("2026-12-01T00:00:00Z").unwrap(), "2026-12-01");
        assert_eq!(in_force("2026-11-30T23:59:59.999Z").unwrap(), "2026-12-01", "the clock was set back");
        let next = versions.changes_after(at("2026-01-05T00:00:00Z"));
        assert_eq!(next, Some(at("2026-12-01T00:00:00Z")));
        assert_eq!(versions.changes_after(at("2026-12-01T00:00:00Z")), None);
    }
}
