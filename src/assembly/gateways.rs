//! Compares this gateway with the others that use the same ledger.
//!
//! The functions are pure: the caller registers the gateway, reads the others from the store and reports the result. It
//! registers first and compares then, so that of two gateways that start at once, at least one sees the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ulid::Ulid;

use crate::config::Config;
use crate::ledger::store::shared::{GatewayDescription, RegisteredGateway};

/// Maximum number of recipients that the text of a difference lists.
const MAX_LISTED: usize = 16;

/// Number of digits of a pack's revision in texts.
const REVISION_DIGITS: usize = 12;

/// The reason why a gateway must not start: it would record the same person under another id than the gateways that run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "running gateways of this ledger read ids by other rules ({}), so one person would have several ids: give all \
     gateways the same `[namespace]` and `normalise`; to change a rule, stop all of them and start them with the new \
     one",
    Listed(.gateways)
)]
pub struct NamespacesDiffer {
    /// Names of the gateways with other rules.
    pub gateways: BTreeSet<Arc<str>>,
}

/// A difference between this gateway and another one that runs. It stops no gateway, since a change of the configuration
/// reaches one gateway after the other. Its text is for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayDifference {
    /// Another process has the name of this gateway: its records cannot be told apart from this gateway's.
    SameName {
        /// The name.
        name: Arc<str>,
    },
    /// The gateway runs another version of the program.
    OtherVersion {
        /// The other gateway.
        gateway: Arc<str>,
        /// Its version.
        version: Arc<str>,
    },
    /// The gateway does not have recipients that this one has.
    RecipientsOnlyHere {
        /// The other gateway.
        gateway: Arc<str>,
        /// Names of the recipients.
        recipients: BTreeSet<Arc<str>>,
    },
    /// This gateway does not have recipients that the other one has.
    RecipientsOnlyThere {
        /// The other gateway.
        gateway: Arc<str>,
        /// Names of the recipients.
        recipients: BTreeSet<Arc<str>>,
    },
    /// The gateways have other versions of a pack.
    OtherPack {
        /// The other gateway.
        gateway: Arc<str>,
        /// Title of the pack.
        title: Arc<str>,
        /// Revisions on this gateway. Empty: it does not have the pack.
        here: BTreeSet<Arc<str>>,
        /// Revisions on the other gateway. Empty: it does not have the pack.
        there: BTreeSet<Arc<str>>,
    },
}

/// Returns the description by which a gateway registers with the store.
pub fn describe(config: &Config, instance: Ulid) -> GatewayDescription {
    let packs = config.packs.iter().flatten();
    GatewayDescription {
        instance,
        name: Arc::clone(&config.name),
        lease: config.ledger.max_staleness,
        version: Arc::from(env!("CARGO_PKG_VERSION")),
        namespaces: config.namespaces.digest(),
        recipients: config.recipients.iter().map(|recipient| Arc::clone(&recipient.name)).collect(),
        packs: packs
            .map(|pack| (Arc::from(pack.manifest().title.as_str()), Arc::clone(pack.revision())))
            .collect(),
    }
}

/// Compares a gateway with all that are on record. Those whose lease is over do not count. Returns the differences, by
/// gateway.
///
/// # Errors
/// [`NamespacesDiffer`]: the gateway must not start.
pub fn compare(
    own: &GatewayDescription,
    registered: &[RegisteredGateway],
) -> Result<Vec<GatewayDifference>, NamespacesDiffer> {
    let live = registered.iter().filter(|other| other.live).map(|other| &other.description);
    let mut others: Vec<&GatewayDescription> = live.filter(|other| other.instance != own.instance).collect();
    others.sort_by(|a, b| (&a.name, a.instance).cmp(&(&b.name, b.instance)));
    let with_other_rules = others.iter().filter(|other| other.namespaces != own.namespaces);
    let gateways: BTreeSet<Arc<str>> = with_other_rules.map(|other| Arc::clone(&other.name)).collect();
    if !gateways.is_empty() {
        return Err(NamespacesDiffer { gateways });
    }
    Ok(others.iter().flat_map(|other| differences(own, other)).collect())
}

/// Returns the recipients that only gateways of other names have which run. A recipient that a gateway of this name has on
/// record is not among them: that gateway is this one under its earlier configuration, and a recipient that this one gives up
/// is to be reported.
pub fn recipients_elsewhere(name: &str, registered: &[RegisteredGateway]) -> BTreeSet<Arc<str>> {
    let live = registered.iter().filter(|gateway| gateway.live).map(|gateway| &gateway.description);
    let (own, others): (Vec<_>, Vec<_>) = live.partition(|description| *description.name == *name);
    let given_up = |recipient: &Arc<str>| own.iter().any(|own| own.recipients.contains(recipient));
    let recipients = others.iter().flat_map(|other| &other.recipients);
    recipients.filter(|recipient| !given_up(recipient)).cloned().collect()
}

fn differences(own: &GatewayDescription, other: &GatewayDescription) -> Vec<GatewayDifference> {
    let GatewayDescription { instance: _, name, lease: _, version, namespaces: _, recipients, packs } = other;
    let gateway = || Arc::clone(name);
    let mut found = Vec::new();
    if *name == own.name {
        found.push(GatewayDifference::SameName { name: gateway() });
    }
    if *version != own.version {
        found.push(GatewayDifference::OtherVersion { gateway: gateway(), version: Arc::clone(version) });
    }
    let names = |names: &[Arc<str>]| names.iter().cloned().collect::<BTreeSet<_>>();
    let (here, there) = (names(&own.recipients), names(recipients));
    let only_here: BTreeSet<_> = here.difference(&there).cloned().collect();
    if !only_here.is_empty() {
        let recipients = only_here;
        found.push(GatewayDifference::RecipientsOnlyHere { gateway: gateway(), recipients });
    }
    let only_there: BTreeSet<_> = there.difference(&here).cloned().collect();
    if !only_there.is_empty() {
        let recipients = only_there;
        found.push(GatewayDifference::RecipientsOnlyThere { gateway: gateway(), recipients });
    }
    let mut titles: BTreeMap<&Arc<str>, [BTreeSet<Arc<str>>; 2]> = BTreeMap::new();
    for (title, revision) in &own.packs {
        let [here, _] = titles.entry(title).or_default();
        here.insert(Arc::clone(revision));
    }
    for (title, revision) in packs {
        let [_, there] = titles.entry(title).or_default();
        there.insert(Arc::clone(revision));
    }
    for (title, [here, there]) in titles.into_iter().filter(|(_, [here, there])| here != there) {
        let title = Arc::clone(title);
        found.push(GatewayDifference::OtherPack { gateway: gateway(), title, here, there });
    }
    found
}

impl fmt::Display for GatewayDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GatewayDifference::SameName { name } => write!(
                f,
                "another process runs as gateway `{name}`: give each gateway its own `[deployment] name` (a gateway that \
                 was killed counts as running until its lease is over)"
            ),
            GatewayDifference::OtherVersion { gateway, version } => {
                write!(
                    f,
                    "gateway `{gateway}` runs version {version}, this one {}",
                    env!("CARGO_PKG_VERSION")
                )
            }
            GatewayDifference::RecipientsOnlyHere { gateway, recipients } => write!(
                f,
                "gateway `{gateway}` does not have these recipients of this one: {}",
                Listed(recipients)
            ),
            GatewayDifference::RecipientsOnlyThere { gateway, recipients } => write!(
                f,
                "this gateway does not have these recipients of gateway `{gateway}`: {}",
                Listed(recipients)
            ),
            GatewayDifference::OtherPack { gateway, title, here, there } => {
                let (here, there) = (Revisions(here), Revisions(there));
                write!(f, "the pack \"{title}\" differs: {here} here, {there} on gateway `{gateway}`")
            }
        }
    }
}

/// Names in backticks.
struct Listed<'n>(&'n BTreeSet<Arc<str>>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().take(MAX_LISTED).enumerate() {
            write!(f, "{}`{name}`", if at > 0 { ", " } else { "" })?;
        }
        match self.0.len().saturating_sub(MAX_LISTED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The revisions of a pack, shortened.
struct Revisions<'r>(&'r BTreeSet<Arc<str>>);

impl fmt::Display for Revisions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let shortened = |revision: &Arc<str>| revision.get(..REVISION_DIGITS).unwrap_or(revision).to_owned();
        let revisions: Vec<String> = self.0.iter().map(shortened).collect();
        write!(f, "revision {}", revisions.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::ledger::Position;

    fn gateway(name: &str) -> GatewayDescription {
        GatewayDescription {
            instance: Ulid::generate(),
            name: name.into(),
            lease: Duration::from_secs(2),
            version: env!("CARGO_PKG_VERSION").into(),
            namespaces: [1; 32],
            recipients: vec!["acme".into(), "globex".into()],
            packs: vec![("One".into(), "r1".into())],
        }
    }

    fn running(description: GatewayDescription) -> RegisteredGateway {
        RegisteredGateway { description, applied: Position(1), renewed: Timestamp::UNIX_EPOCH, live: true }
    }

    fn told(own: &GatewayDescription, other: GatewayDescription) -> Vec<String> {
        let differences = compare(own, &[running(other)]).unwrap();
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_gateways_do_not_differ() {
        let own = gateway("a");
        assert_eq!(compare(&own, &[]).unwrap(), []);
        let mut other = gateway("b");
        other.lease = Duration::from_secs(9);
        other.recipients.reverse();
        let own_row = GatewayDescription { recipients: Vec::new(), namespaces: [9; 32], ..own.clone() };
        assert_eq!(
            compare(&own, &[running(other), running(own_row)]).unwrap(),
            [],
            "its own row does not count"
        );
    }

    #[test]
    fn other_rules_for_ids_on_a_running_gateway_are_refused() {
        let own = gateway("a");
        let other = |name| running(GatewayDescription { namespaces: [2; 32], ..gateway(name) });
        let error = compare(&own, &[other("c"), running(gateway("d")), other("b"), other("b")]).unwrap_err();
        assert_eq!(error.gateways.iter().map(|name| &**name).collect::<Vec<_>>(), ["b", "c"]);
        let words = error.to_string();
        assert!(words.contains("(`b`, `c`)") && words.contains("stop all of them"), "{words}");
        let stopped = RegisteredGateway { live: false, ..other("b") };
        assert_eq!(compare(&own, &[stopped]).unwrap(), [], "its lease is over");
    }

    #[test]
    fn every_other_difference_is_told() {
        let own = gateway("a");
        let words = told(&own, GatewayDescription { version: "9.9.9".into(), ..gateway("b") });
        assert_eq!(words, [format!("gateway `b` runs version 9.9.9, this one {}", own.version)]);
        let words = told(&own, gateway("a"));
        assert!(words.len() == 1 && words[0].contains("another process runs as gateway `a`"), "{words:?}");
        let recipients = ["acme", "initech", "hooli"].map(Arc::from).to_vec();
        let words = told(&own, GatewayDescription { recipients, ..gateway("b") });
        assert_eq!(
            words,
            [
                "gateway `b` does not have these recipients of this one: `globex`",
                "this gateway does not have these recipients of gateway `b`: `hooli`, `initech`",
            ]
        );
        let packs = vec![("One".into(), "r1".into()), ("One".into(), "0123456789abcdef".into())];
        let words = told(&own, GatewayDescription { packs, ..gateway("b") });
        assert_eq!(
            words,
            ["the pack \"One\" differs: revision r1 here, revision 0123456789ab and r1 on gateway `b`"]
        );
        let words =
            told(&own, GatewayDescription { packs: vec![("Two".into(), "r1".into())], ..gateway("b") });
        assert_eq!(
            words,
            [
                "the pack \"One\" differs: revision r1 here, none on gateway `b`",
                "the pack \"Two\" differs: none here, revision r1 on gateway `b`",
            ]
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let names =
            |count: usize| (0..count).map(|n| format!("r{n:02}").into()).collect::<BTreeSet<Arc<str>>>();
        assert!(Listed(&names(MAX_LISTED)).to_string().ends_with("`r15`"));
        assert!(Listed(&names(MAX_LISTED + 3)).to_string().ends_with("`r15` and 3 more"));
    }

    #[test]
    fn a_gateway_is_described_by_its_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("purposegate.toml");
        let pack = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360");
        let text = |rule: &str| {
            format!(
                "policy = {pack:?}\n[deployment]\nname = \"gateway-7\"\n[namespace.email]\nnormalise = [\"{rule}\"]\n\
                 [ledger]\nmax-staleness = \"3s\"\n[[recipient]]\nname = \"acme\"\nkind = \"employee\"\ncountry = \"DE\"\n"
            )
        };
        let described = |rule: &str| {
            std::fs::write(&file, text(rule)).unwrap();
            let (config, findings) = crate::config::load_for_layer(&file);
            describe(&config.unwrap_or_else(|| panic!("{findings:?}")), Ulid::nil())
        };
        let one = described("trim");
        assert_eq!(
            (&*one.name, one.lease, &one.recipients[..]),
            ("gateway-7", Duration::from_secs(3), &["acme".into()][..])
        );
        let [(title, revision)] = &one.packs[..] else { panic!("{:?}", one.packs) };
        assert!(!title.is_empty() && revision.len() >= REVISION_DIGITS, "{title} {revision}");
        assert_eq!(one, described("trim"));
        assert_ne!(one.namespaces, described("lowercase").namespaces);
    }

    #[test]
    fn a_recipient_of_another_gateway_that_runs_is_known_unless_this_one_gives_it_up() {
        let with = |name: &str, recipients: &[&str]| {
            let recipients = recipients.iter().map(|name| Arc::from(*name)).collect();
            running(GatewayDescription { recipients, ..gateway(name) })
        };
        let elsewhere = |registered: &[RegisteredGateway]| {
            recipients_elsewhere("a", registered).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(elsewhere(&[]), Vec::<String>::new());
        let others = [with("b", &["globex", "court"]), with("c", &["court", "acme"])];
        assert_eq!(elsewhere(&others), ["acme", "court", "globex"]);
        let stopped = RegisteredGateway { live: false, ..with("b", &["court"]) };
        assert_eq!(elsewhere(&[stopped]), Vec::<String>::new());
        // The gateway itself still runs, with a configuration that has the recipient.
        let [b, c] = others;
        assert_eq!(elsewhere(&[with("a", &["court"]), b, c]), ["acme", "globex"]);
    }
}
