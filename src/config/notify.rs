//! `notify` of a recipient: how it is told of erasures, corrections and restrictions.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::http_url::HttpUrl;
use super::tls::roots;
use crate::document::{At, Fields};
use crate::exchange::caller::HolderKind;
use crate::exchange::route::{NoticeWebhook, Notify};
use crate::finding::Finding;

/// Prefix of a secret (Standard Webhooks).
pub(crate) const SECRET_PREFIX: &str = "whsec_";

/// Minimum and maximum bytes of a secret (Standard Webhooks).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Maximum bytes of a file with a secret.
const MAX_FILE_BYTES: u64 = 1024;

/// Reads `notify`, and adds the files that it names to `files`. `folder` is that of the configuration file.
pub(super) fn read(
    mut fields: Fields<'_>,
    holder: Option<HolderKind>,
    folder: &Path,
    files: &mut Vec<PathBuf>,
) -> Notify {
    let document = fields.document();
    let at = fields.at();
    let (webhook, ca) = (fields.text("webhook"), fields.text("ca"));
    let secret = fields.fields("secret", "`secret`").map(SecretPlace::read);
    let feed = fields.flag("feed") == Some(true);
    fields.end();
    let find = |words: String, at, hint: &str| {
        document.find(Finding::error("bad-notify", words).label("of this recipient").hint(hint), at);
        Notify::Manual
    };
    match holder {
        Some(HolderKind::DataSubject | HolderKind::CustomerAdministrator) => {
            let words = "each caller of this recipient is another person or account, and a notice would tell all of them";
            let hint = "leave `notify` out: a person learns from the access report who received what, and a person tells an account";
            return find(words.to_owned(), at, hint);
        }
        Some(HolderKind::Other) | None => {}
    }
    let authorities = ca.as_ref().map(|ca| folder.join(ca.value));
    let of_secret = secret.as_ref().and_then(|secret| secret.file.as_ref()).map(|file| folder.join(file));
    files.extend(authorities.iter().cloned().chain(of_secret));
    if let Some((ca, path)) = ca.as_ref().zip(authorities.as_deref())
        && let Err(error) = roots(path)
    {
        let hint = "`ca` is a PEM file with the authorities of the recipient's server";
        return find(error.to_string(), ca.at.clone(), hint);
    }
    match (webhook, feed) {
        (None, true) if secret.is_none() && ca.is_none() => Notify::Feed,
        (Some(url), false) => {
            if let Err(why) = checked_url(&url) {
                return find(why, url.at, "write `https://…`");
            }
            let loaded = secret.as_ref().map(|secret| secret.load(folder)).transpose();
            match loaded {
                Ok(secret) => {
                    Notify::Webhook(NoticeWebhook { url: url.value.to_owned(), secret, ca: authorities })
                }
                Err(why) => {
                    let hint = "write `{ file = \"…\" }` or `{ env = \"…\" }`; the value is `whsec_` and 24 to 64 bytes in base64";
                    find(why, secret.map_or(at, |secret| secret.at), hint)
                }
            }
        }
        _ => find(
            "`notify` is a webhook, perhaps with `secret` and `ca`, or `feed = true`".to_owned(),
            at,
            "leave `notify` out if a person tells the recipient",
        ),
    }
}

/// Checks the URL of a webhook. A notice names a person, so it needs TLS.
fn checked_url(url: &At<&str>) -> Result<(), String> {
    let parsed = url.value.parse::<HttpUrl>().map_err(|error| error.to_string())?;
    if parsed.is_tls() || parsed.is_loopback() {
        Ok(())
    } else {
        Err("notices name people and are not sent without TLS".to_owned())
    }
}

/// The place of a webhook's secret: a file, or a variable of the environment.
struct SecretPlace {
    at: Range<usize>,
    file: Option<String>,
    variable: Option<String>,
}

impl SecretPlace {
    fn read(mut fields: Fields<'_>) -> SecretPlace {
        let at = fields.at();
        let mut text = |name| fields.text(name).map(|text| text.value.to_owned());
        let (file, variable) = (text("file"), text("env"));
        fields.end();
        SecretPlace { at, file, variable }
    }

    fn load(&self, folder: &Path) -> Result<Arc<[u8]>, String> {
        let text = match (&self.file, &self.variable) {
            (Some(file), None) => {
                let path = folder.join(file);
                let mut text = String::new();
                File::open(&path)
                    .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                text
            }
            (None, Some(variable)) => std::env::var(variable)
                .map_err(|_| format!("the environment has no variable `{variable}` with a text"))?,
            _ => return Err("the secret is in a file or in a variable of the environment".to_owned()),
        };
        let unusable = || "the secret is not `whsec_` and 24 to 64 bytes in base64".to_owned();
        let encoded = text.trim().strip_prefix(SECRET_PREFIX).ok_or_else(unusable)?;
        let secret = STANDARD.decode(encoded).map_err(|_| unusable())?;
        if SECRET_BYTES.contains(&secret.len()) { Ok(Arc::from(secret)) } else { Err(unusable()) }
    }
}
