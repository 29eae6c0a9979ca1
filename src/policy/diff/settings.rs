//! Compares the settings of two versions: keys of the manifest, and properties of the vocabulary. The rules are
//! compared by evaluation, in another module.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::civil::Date;
use serde::Serialize;

use super::grouping::folded;
use crate::policy::base::Base;
use crate::policy::manifest::{Manifest, Switches};
use crate::policy::pack::Pack;
use crate::vocabulary::{CategoryId, PurposeId, TermId, Tree, Vocabulary};

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// Key of `pack.toml`.
    pub key: &'static str,
    /// Terms or countries that it applies to; empty if it applies to the pack as a whole.
    pub about: Vec<String>,
    /// Value in the old version.
    pub old: String,
    /// Value in the new version.
    pub new: String,
    /// True if more is disclosed or done, data are kept longer, or notice is shorter. A change that is neither
    /// more nor less, such as another contact, counts as less: it may take effect at once.
    pub more: bool,
}

impl SettingChange {
    /// Describes the change on one line: `retention of website-activity: 30d -> none`.
    pub fn describe(&self) -> String {
        let SettingChange { key, about, old, new, more: _ } = self;
        let of = if about.is_empty() { String::new() } else { format!(" of {}", about.join(", ")) };
        format!("`{key}`{of}: {old} -> {new}")
    }
}

/// Collects the settings that differ.
#[derive(Default)]
struct SettingChanges(Vec<SettingChange>);

impl SettingChanges {
    /// Adds a setting if its value differs.
    fn compare<T: PartialEq>(
        &mut self,
        key: &'static str,
        old: T,
        new: T,
        words: impl Fn(&T) -> String,
        more: bool,
    ) {
        if old != new {
            self.push(key, Vec::new(), words(&old), words(&new), more);
        }
    }

    /// Adds a property of a term if it differs.
    fn flag(&mut self, key: &'static str, name: &str, old: bool, new: bool, more: bool) {
        if old != new {
            self.push(key, vec![name.to_owned()], old.to_string(), new.to_string(), more);
        }
    }

    fn push(&mut self, key: &'static str, about: Vec<String>, old: String, new: String, more: bool) {
        self.0.push(SettingChange { key, about, old, new, more });
    }
}

/// Returns every setting that differs.
pub(super) fn setting_changes(old: &Pack, new: &Pack) -> Vec<SettingChange> {
    let mut found = SettingChanges::default();
    let (old_vocabulary, new_vocabulary) = (old.vocabulary(), new.vocabulary());
    let (before, after) = (old.manifest(), new.manifest());
    retention(&mut found, old, new);
    never_released(&mut found, old, new);
    manifest_changes(&mut found, before, after);
    regions(&mut found, old_vocabulary, new_vocabulary);
    vocabulary_changes(&mut found, old_vocabulary, new_vocabulary);
    found.0
}

fn manifest_changes(found: &mut SettingChanges, old: &Manifest, new: &Manifest) {
    // Full destructuring: after a key is added to `Manifest`, this does not compile until somebody decides how to
    // compare it.
    let Manifest {
        base,
        title: _,
        version: _,
        announced: _,
        effective,
        notice_business_days: notice,
        holidays,
        contact,
        controller_contact,
        switches: Switches { global_privacy_control },
        // The basis of a release is compared by evaluation.
        bases: _,
        clauses: _,
        retention: _,
        never_released: _,
        of_age,
        account_closed_after,
        access_log_limit,
        processing: _,
        source: _,
        effective_at: _,
    } = new;
    let extends = |base: &Option<Arc<Base>>| base.as_ref().map_or("nothing", |base| &base.name).to_owned();
    let (before, after) = (extends(&old.base), extends(base));
    // If the base changes, its rules are compared by evaluation as well.
    found.compare("extends", before, after, String::clone, old.base.is_some());
    let is_longer_limit = is_longer(old.access_log_limit, *access_log_limit);
    let limit = |period: &Option<SignedDuration>| period.map_or("no limit".to_owned(), days);
    found.compare(
        "access-log-limit",
        &old.access_log_limit,
        access_log_limit,
        |period| limit(period),
        is_longer_limit,
    );
    found.compare("of-age", old.of_age, *of_age, u8::to_string, *of_age < old.of_age);
    let is_later = (0..2)
        .any(|n| is_longer(old.account_closed_after.get(n).copied(), account_closed_after.get(n).copied()));
    let periods = |periods: &&Vec<SignedDuration>| match periods.as_slice() {
        [] => "never".to_owned(),
        periods => periods.iter().map(|period| days(*period)).collect::<Vec<_>>().join(", "),
    };
    found.compare("account-closed-after", &old.account_closed_after, account_closed_after, periods, is_later);
    found.compare(
        "notice-business-days",
        old.notice_business_days,
        *notice,
        u32::to_string,
        *notice < old.notice_business_days,
    );
    dropped_holidays(found, &old.holidays, holidays, *effective);
    let before = old.switches.global_privacy_control;
    found.compare(
        "switches.global-privacy-control",
        before,
        *global_privacy_control,
        bool::to_string,
        before,
    );
    found.compare("contact", &old.contact, contact, |contact| format!("\"{contact}\""), false);
    let written = |contact: &&Option<String>| match contact {
        Some(contact) => format!("\"{contact}\""),
        None => "none".to_owned(),
    };
    found.compare("controller-contact", &old.controller_contact, controller_contact, written, false);
}

/// Adds the holidays that the new version no longer lists: each of them becomes a business day, so notice periods
/// end earlier.
fn dropped_holidays(found: &mut SettingChanges, old: &[Date], new: &[Date], effective: Date) {
    // Holidays before the new version takes effect no longer matter.
    let future = old.iter().filter(|day| **day >= effective);
    let dropped: Vec<String> = future.filter(|day| !new.contains(day)).map(ToString::to_string).collect();
    if !dropped.is_empty() {
        found.push("holidays", dropped, "listed".to_owned(), "not listed".to_owned(), true);
    }
}

/// True if the new limit is longer than the old one. No limit counts as the longest.
fn is_longer(old: Option<SignedDuration>, new: Option<SignedDuration>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => new > old,
        (old, new) => old.is_some() && new.is_none(),
    }
}

fn days(period: SignedDuration) -> String {
    format!("{}d", period.as_hours() / 24)
}

/// Compares retention periods; longer or unlimited is more. Categories that only one version has are skipped.
fn retention(found: &mut SettingChanges, old: &Pack, new: &Pack) {
    let mut differ: BTreeMap<(Option<SignedDuration>, Option<SignedDuration>), BTreeSet<String>> =
        BTreeMap::new();
    for (name, before, after) in in_both(old.vocabulary().categories(), new.vocabulary().categories()) {
        let before = old.manifest().retention(old.vocabulary(), before);
        let after = new.manifest().retention(new.vocabulary(), after);
        if before != after {
            differ.entry((before, after)).or_default().insert(name);
        }
    }
    let words = |period: Option<SignedDuration>| period.map_or("no limit".to_owned(), days);
    for ((before, after), names) in differ {
        let about = folded(&names, new.vocabulary().categories());
        found.push("retention", about, words(before), words(after), is_longer(before, after));
    }
}

/// Compares the categories that are never released, with those below them.
fn never_released(found: &mut SettingChanges, old: &Pack, new: &Pack) {
    let listed = |pack: &Pack| -> BTreeSet<String> {
        let tree = pack.vocabulary().categories();
        let within = |id: CategoryId| pack.manifest().never_released.iter().any(|&at| tree.within(id, at));
        tree.terms().filter(|(id, _)| within(*id)).map(|(_, term)| term.id.to_string()).collect()
    };
    let (before, after) = (listed(old), listed(new));
    let mut differ = |names: BTreeSet<String>, words: &Vocabulary, [old, new]: [&str; 2], more| {
        if !names.is_empty() {
            let about = folded(&names, words.categories());
            found.push("never-released", about, old.to_owned(), new.to_owned(), more);
        }
    };
    let dropped = before.difference(&after).cloned().collect();
    differ(dropped, old.vocabulary(), ["listed", "not listed"], true);
    let added = after.difference(&before).cloned().collect();
    differ(added, new.vocabulary(), ["not listed", "listed"], false);
}

/// Compares regions. A country that gets a label is in the same region as the other countries with that label,
/// which discloses more. A country that loses its label is a region of its own, which discloses less.
fn regions(found: &mut SettingChanges, old: &Vocabulary, new: &Vocabulary) {
    let countries: BTreeSet<&str> = old.regions().countries().chain(new.regions().countries()).collect();
    for country in countries {
        let (before, after) = (old.regions().of_country(country), new.regions().of_country(country));
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            let more = *after != *country;
            found.push("regions", vec![country.to_owned()], before.to_string(), after.to_string(), more);
        }
    }
}

/// Compares the properties of terms that both versions have.
fn vocabulary_changes(found: &mut SettingChanges, old: &Vocabulary, new: &Vocabulary) {
    // Consents, refusals and objections apply to everything below a term: a moved term changes their effect.
    parents(found, "vocabulary.purposes.parent", old.purposes(), new.purposes());
    parents(found, "vocabulary.categories.parent", old.categories(), new.categories());
    parents(found, "vocabulary.kinds.parent", old.kinds(), new.kinds());
    let purposes: Vec<_> = in_both(old.purposes(), new.purposes()).collect();
    for (name, before, after) in &purposes {
        let (was, is) = (old.yields_only_to_upheld(*before), new.yields_only_to_upheld(*after));
        found.flag("vocabulary.purposes.yields-only-to-upheld", name, was, is, is);
        let covers = |(_, in_old, in_new): &(String, _, _)| {
            (old.objection_covers(*before, *in_old), new.objection_covers(*after, *in_new))
        };
        let (mut lost, mut gained, mut above) = (false, false, false);
        for other in &purposes {
            let (was, is) = covers(other);
            lost |= was && !is;
            gained |= is && !was;
            // A later consent to a covered purpose ends the objection. If an ancestor is newly covered, consent to
            // that broader purpose suffices, and people give it more readily.
            above |= is && !was && new.purposes().within(*after, other.2);
        }
        if lost || gained {
            let (was, is) = ("others covered".to_owned(), if lost { "fewer" } else { "more" }.to_owned());
            let key = "vocabulary.purposes.objection-also-covers";
            found.push(key, vec![name.clone()], was, is, lost || above);
        }
    }
    for (name, before, after) in in_both(old.categories(), new.categories()) {
        let (was, is) = (old.is_optional(before), new.is_optional(after));
        found.flag("vocabulary.categories.optional", &name, was, is, was);
    }
    for (name, before, after) in in_both(old.kinds(), new.kinds()) {
        let (was, is) = (old.needs_agreement(before), new.needs_agreement(after));
        found.flag("vocabulary.kinds.needs-agreement", &name, was, is, was);
        // With a narrower purpose, fewer requests must cite a case; with an unrelated one, other requests must.
        let cites = |words: &Vocabulary, root: Option<PurposeId>, purpose| {
            root.is_some_and(|root| words.purposes().within(purpose, root))
        };
        let (was, is) = (old.legal_reference_for(before), new.legal_reference_for(after));
        let (lost, gained) = purposes.iter().fold((false, false), |(lost, gained), (_, in_old, in_new)| {
            let (was, is) = (cites(old, was, *in_old), cites(new, is, *in_new));
            (lost || (was && !is), gained || (is && !was))
        });
        if lost || gained {
            let root = |words: &Vocabulary, root: Option<PurposeId>| {
                root.map_or("none".to_owned(), |root| words.purposes().name(root).to_owned())
            };
            let (was, is) = (root(old, was), root(new, is));
            found.push("vocabulary.kinds.legal-reference-for", vec![name.clone()], was, is, lost);
        }
    }
    for (name, before, after) in in_both(old.relations(), new.relations()) {
        let (was, is) = (old.is_bound_only(before), new.is_bound_only(after));
        // A relation that holds less often makes permits apply less often, and prohibitions as well. So either
        // change counts as more.
        found.flag("vocabulary.relations.bound-only", &name, was, is, true);
    }
}

/// Adds the terms whose parent differs.
fn parents<I: TermId>(found: &mut SettingChanges, key: &'static str, old: &Tree<I>, new: &Tree<I>) {
    let parent =
        |tree: &Tree<I>, id: I| tree.parent(id).map_or("none".to_owned(), |id| tree.name(id).to_owned());
    for (name, before, after) in in_both(old, new) {
        let (before, after) = (parent(old, before), parent(new, after));
        if before != after {
            found.push(key, vec![name], before, after, true);
        }
    }
}

/// Returns the terms that both trees have.
fn in_both<I: TermId>(old: &Tree<I>, new: &Tree<I>) -> impl Iterator<Item = (String, I, I)> {
    old.terms().filter_map(|(id, term)| Some((term.id.to_string(), id, new.find(&term.id)?)))
}
