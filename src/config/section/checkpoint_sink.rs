//! `[audit] checkpoints`: where the checkpoints of the disclosure log go, so that somebody else can hold the gateway to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::config::Part;
use crate::config::files::existing;
use crate::config::http_url::HttpUrl;
use crate::config::tls::TlsError;
use crate::config::tls_client::{ClientTlsFiles, client};
use crate::disclosure::{self, WitnessKey};
use crate::document::{At, Document, Fields};
use crate::finding::Finding;

/// Interval of the structured log if none is configured.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Minimum interval of the structured log: a checkpoint is published once in a second.
const MIN_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum interval of the structured log.
const MAX_LOG_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// An entry of `[audit] checkpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointSink {
    /// The structured log, once in this interval while the log grows.
    Log(Duration),
    /// A file, which is replaced.
    File(PathBuf),
    /// A server that gets each checkpoint in a request.
    Webhook(SinkServer),
    /// A C2SP witness, which cosigns.
    Witness {
        /// Its server.
        server: SinkServer,
        /// The verifier key of its cosignatures.
        key: WitnessKey,
    },
}

/// A server that takes checkpoints.
#[derive(Clone)]
pub struct SinkServer {
    /// The URL of the webhook, or the submission prefix of the witness.
    pub url: HttpUrl,
    /// TLS to it. `None` for a URL without TLS, and where it cannot be set up: then no request succeeds.
    pub tls: Option<Arc<ClientConfig>>,
    /// File with the authorities of its certificate. `None`: those of the system.
    pub ca: Option<PathBuf>,
}

impl PartialEq for SinkServer {
    fn eq(&self, other: &SinkServer) -> bool {
        let SinkServer { url, tls: _, ca } = self;
        (url, ca) == (&other.url, &other.ca)
    }
}

impl Eq for SinkServer {}

impl std::fmt::Debug for SinkServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkServer").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Returns the sinks of a configuration that names none.
pub(super) fn default_sinks() -> Vec<CheckpointSink> {
    vec![CheckpointSink::Log(LOG_INTERVAL)]
}

/// Reads an entry of `checkpoints`. `directory` is the folder of the log.
pub(super) fn checkpoint_sink(
    part: &Part<'_>,
    mut fields: Fields<'_>,
    directory: &Path,
) -> Option<CheckpointSink> {
    let (document, at) = (fields.document(), fields.at());
    let (log, file) = (fields.item("log"), fields.text("file"));
    let (webhook, witness) = (fields.text("webhook"), fields.text("witness"));
    let (key, ca) = (fields.text("key"), fields.text("ca"));
    fields.end();
    let find = |words: &str, at, hint: &str| {
        document.find(Finding::error("bad-checkpoint-sink", words).label("this sink").hint(hint), at);
        None
    };
    if let Some(other) = key.as_ref().filter(|_| witness.is_none()) {
        return find("`key` is the verifier key of a witness", other.at.clone(), "take it out");
    }
    if let Some(other) = ca.as_ref().filter(|_| witness.is_none() && webhook.is_none()) {
        return find("`ca` is for a webhook or a witness", other.at.clone(), "take it out");
    }
    match (log, file, webhook, witness) {
        (Some(log), None, None, None) => {
            let interval = log.duration()?;
            if !(MIN_LOG_INTERVAL..=MAX_LOG_INTERVAL).contains(&interval) {
                return find("the interval is not between 1 s and 24 h", log.at(), "`1m` is the default");
            }
            Some(CheckpointSink::Log(interval))
        }
        (None, Some(file), None, None) => {
            let path = part.folder.join(file.value);
            if disclosure::overlapping([directory, &path]).is_some() {
                let hint = "keep it elsewhere, best on another machine: whoever can change the log must not \
                            be able to change it";
                return find("the file is inside the log's folder", file.at, hint);
            }
            Some(CheckpointSink::File(path))
        }
        (None, None, Some(url), None) => {
            Some(CheckpointSink::Webhook(server(part, &url, ca.as_ref(), &SINK)?))
        }
        (None, None, None, Some(url)) => {
            let Some(key) = key else {
                return find("a witness needs `key`", url.at, "`key` is its verifier key, `name+id+base64`");
            };
            let Some(read) = WitnessKey::parse(key.value) else {
                let hint = "it has the form `name+id+base64`, with an Ed25519 key for cosignatures";
                return find("this is not the verifier key of a witness", key.at, hint);
            };
            Some(CheckpointSink::Witness { server: server(part, &url, ca.as_ref(), &SINK)?, key: read })
        }
        (None, None, None, None) | (_, _, _, _) => find(
            "a sink has one of `log`, `file`, `webhook` and `witness`",
            at,
            "write an entry of `checkpoints` for each",
        ),
    }
}

/// The words of findings about a server that is not usable.
pub(super) struct ServerRole {
    /// Code of the finding.
    pub(super) code: &'static str,
    /// The reason why it needs TLS.
    pub(super) without_tls: &'static str,
    pub(super) label: &'static str,
}

/// The words of findings about a sink.
const SINK: ServerRole = ServerRole {
    code: "bad-checkpoint-sink",
    without_tls: "checkpoints that are sent without TLS can be replaced on the way",
    label: "not the address of a sink",
};

/// Reads URL and authorities of a server.
pub(super) fn server(
    part: &Part<'_>,
    url: &At<&str>,
    ca: Option<&At<&str>>,
    role: &ServerRole,
) -> Option<SinkServer> {
    let document = part.fields.document();
    let parsed = server_url(document, url, role)?;
    let ca = match ca {
        Some(ca) => Some(existing(part, ca, "`ca` is a PEM file with the authorities of the server")?),
        None => None,
    };
    let files = ClientTlsFiles { ca: ca.clone(), identity: None };
    let tls = parsed.is_tls().then(|| client(&files)).transpose();
    let unusable = |error: TlsError| {
        let words = format!("TLS to the server cannot be set up: {error}");
        let finding = match error.denied {
            true => Finding::warning("unreadable-tls", words),
            false => Finding::error("bad-tls", words),
        };
        document.find(finding.label("to this server").hint("`ca` is a PEM file"), url.at.clone());
    };
    // A file that this process cannot read is a warning, since `check` may run as somebody else. Without TLS each attempt fails
    // and is counted; a server that was left out would not be missed.
    let tls = tls.map_err(unusable).ok().flatten();
    Some(SinkServer { url: parsed, tls, ca })
}

/// Reads the URL of a server, which needs TLS unless it is on this machine.
fn server_url(document: &Document<'_>, url: &At<&str>, role: &ServerRole) -> Option<HttpUrl> {
    let ServerRole { code, without_tls, label } = *role;
    let parsed = url.value.parse::<HttpUrl>().map_err(|error| error.to_string());
    let usable = parsed.and_then(|parsed| match parsed.is_tls() || parsed.is_loopback() {
        true => Ok(parsed),
        false => Err(without_tls.to_owned()),
    });
    let finding = |why: String| Finding::error(code, why).label(label).hint("write `https://…`");
    usable.map_err(|why| document.find(finding(why), url.at.clone())).ok()
}
