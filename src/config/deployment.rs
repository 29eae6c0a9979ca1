//! `[deployment]`: the name of this gateway, the region that it exports data from, and whose pages people receive.

use std::sync::Arc;

use super::Part;
use super::terms::PackTerms;
use crate::document::{At, Document};
use crate::finding::Finding;
use crate::vocabulary::EEA;

/// Maximum length of a gateway's name in bytes: that of a host name.
const MAX_NAME_BYTES: usize = 253;

/// Maximum length of the organisation's name in bytes.
const MAX_ORGANISATION_BYTES: usize = 200;

/// Name of a gateway whose host has no usable name.
const DEFAULT_NAME: &str = "gateway";

/// `[deployment]`.
#[derive(Debug)]
pub(super) struct DeploymentSection<'d> {
    /// Name of this gateway in log records.
    pub(super) name: Arc<str>,
    /// Region that this gateway exports data from.
    pub(super) exporter_region: Arc<str>,
    /// Name in law of the organisation, as its pages have it.
    pub(super) organisation: Option<String>,
    /// Language of its pages for readers who ask for none.
    pub(super) language: Option<At<&'d str>>,
}

pub(super) fn read<'d>(part: &mut Part<'d>, words: &PackTerms<'_>) -> DeploymentSection<'d> {
    let Some(mut fields) = part.fields.fields("deployment", "`[deployment]`") else {
        return DeploymentSection {
            name: host_name(),
            exporter_region: Arc::from(EEA),
            organisation: None,
            language: None,
        };
    };
    let (name, region) = (fields.text("name"), fields.text("exporter-region"));
    let (organisation, language) = (fields.text("organisation"), fields.text("language"));
    fields.end();
    let document = part.fields.document();
    DeploymentSection {
        name: name.map_or_else(host_name, |name| checked(document, &name)),
        exporter_region: region.map_or_else(|| Arc::from(EEA), |region| exporter(document, &region, words)),
        organisation: organisation.and_then(|organisation| checked_organisation(document, &organisation)),
        language,
    }
}

/// Returns the name of the organisation. An empty or overlong one is a finding.
fn checked_organisation(document: &Document<'_>, organisation: &At<&str>) -> Option<String> {
    let name = organisation.value.trim();
    if name.is_empty() || name.len() > MAX_ORGANISATION_BYTES {
        let finding = Finding::error("bad-text", "this cannot be the name of the organisation");
        let hint = format!("its name in law, of {MAX_ORGANISATION_BYTES} bytes at most");
        document.find(
            finding.label("stands on the pages that people receive").hint(hint),
            organisation.at.clone(),
        );
        return None;
    }
    Some(name.to_owned())
}

/// Returns a configured name. One that log records cannot have is a finding.
fn checked(document: &Document<'_>, name: &At<&str>) -> Arc<str> {
    if !is_usable(name.value) {
        let finding = Finding::error("bad-gateway-name", "this is not the name of a gateway");
        let hint = format!(
            "1 to {MAX_NAME_BYTES} letters, digits, `.`, `-` and `_`, for example `name = \"gateway-1\"`"
        );
        document.find(finding.label("stands in every log record").hint(hint), name.at.clone());
    }
    Arc::from(name.value)
}

/// True if log records can have the name. The characters are those of host names, so that the name needs no quoting in a
/// shell, a query or a file name.
fn is_usable(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(fits)
}

/// Returns the host's name: the one that Linux has, or else the one that the environment has.
fn host_name() -> Arc<str> {
    let of_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = of_kernel.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    Arc::from(Some(name.trim()).filter(|name| is_usable(name)).unwrap_or(DEFAULT_NAME))
}

fn exporter(document: &Document<'_>, written: &At<&str>, words: &PackTerms<'_>) -> Arc<str> {
    let Some(region) = words.region(document, written) else { return Arc::from(EEA) };
    if *region == *EEA && written.value != EEA {
        let finding = Finding::warning("exporter-in-eea", format!("`{}` counts as `{EEA}`", written.value));
        let hint = "write `exporter-region = \"EEA\"`: rules about transfers know the EEA as a whole";
        document.find(finding.label("lies in the EEA").hint(hint), written.at.clone());
    }
    region
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_characters_of_a_host_name() {
        for name in ["gateway-1", "a", "eu_west.node-07.example.org", &"n".repeat(MAX_NAME_BYTES)] {
            assert!(is_usable(name), "{name}");
        }
        for name in ["", "a b", "a/b", "zürich", "a\n", "(none)", "\"", &"n".repeat(MAX_NAME_BYTES + 1)] {
            assert!(!is_usable(name), "{name}");
        }
        assert!(is_usable(&host_name()), "{}", host_name());
    }
}
