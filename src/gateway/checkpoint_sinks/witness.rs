//! Has checkpoints cosigned by a witness (C2SP tlog-witness).
//!
//! The witness cosigns a checkpoint only if the log has grown since the last one that it has cosigned. The cosigned
//! checkpoint is kept in a file beside the log's folder: it belongs to an earlier size than the log's own checkpoint, which
//! does not wait for anybody.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};

use super::{SinkError, replace};
use crate::disclosure::storage::{LogReader, PublishedCheckpoint};
use crate::disclosure::{WitnessKey, add_checkpoint_body, known_size};
use crate::gateway::http_client::{HttpClient, HttpError};

/// Maximum length of a kept checkpoint in bytes.
const MAX_NOTE: u64 = 64 << 10;

/// The resource of a witness.
const RESOURCE: &str = "add-checkpoint";

/// A witness.
#[derive(Debug)]
pub(super) struct WitnessSink {
    client: HttpClient,
    target: String,
    key: WitnessKey,
    /// The folder of the log.
    folder: PathBuf,
    /// The file with the last cosigned checkpoint.
    file: PathBuf,
    /// Number of entries that the witness has cosigned; it corrects a wrong one.
    known: u64,
}

impl WitnessSink {
    /// Creates the sink of a witness for the log in a folder.
    pub(super) fn new(client: HttpClient, key: WitnessKey, folder: &Path) -> WitnessSink {
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(format!(".witness-{:08x}", key.id()));
        let file = folder.with_file_name(name);
        let target = format!("{}/{RESOURCE}", client.url().target().trim_end_matches('/'));
        let known = kept_size(&file).unwrap_or(0);
        WitnessSink { client, target, key, folder: folder.to_owned(), file, known }
    }

    /// Has a checkpoint cosigned, and keeps it.
    pub(super) async fn deliver(&mut self, checkpoint: &PublishedCheckpoint) -> Result<(), SinkError> {
        let mut answer = self.ask(checkpoint).await?;
        if answer.0 == StatusCode::CONFLICT
            && let Some(known) = known_size(&answer.1).filter(|known| *known != self.known)
        {
            self.known = known;
            answer = self.ask(checkpoint).await?;
        }
        let (status, text) = answer;
        if status != StatusCode::OK {
            return Err(SinkError::Status(status));
        }
        let cosigned = self.key.cosigned(&checkpoint.note, &text);
        let cosigned = cosigned.ok_or(SinkError::Answer("the witness answers without its cosignature"))?;
        self.known = checkpoint.size;
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || replace(&file, &cosigned)).await;
        written.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(SinkError::File)
    }

    async fn ask(&self, checkpoint: &PublishedCheckpoint) -> Result<(StatusCode, String), SinkError> {
        let (known, size) = (self.known, checkpoint.size);
        if known > size {
            return Err(SinkError::Shorter { known, size });
        }
        let proof = if known == 0 || known == size { Vec::new() } else { self.prove(known, size).await? };
        let body = add_checkpoint_body(known, &proof, &checkpoint.note);
        let body = body.ok_or(SinkError::Answer("the proof is longer than a witness takes"))?;
        let request = Request::post(&self.target).header(CONTENT_TYPE, "text/plain; charset=utf-8");
        let request =
            request.body(Bytes::from(body)).map_err(|error| HttpError::Broken(error.to_string()))?;
        let answer = self.client.send(request).await?;
        let status = answer.status();
        let text = String::from_utf8(answer.into_body().to_vec());
        Ok((status, text.map_err(|_| SinkError::Answer("the answer of the witness is no text"))?))
    }

    /// Returns the proof that the log only grew between two sizes.
    async fn prove(&self, known: u64, size: u64) -> Result<Vec<[u8; 32]>, SinkError> {
        let folder = self.folder.clone();
        let proved = tokio::task::spawn_blocking(move || {
            let proof = LogReader::open(&folder)?.prove_consistency(known, size)?;
            Ok(proof.into_iter().map(|hash| hash.0).collect())
        });
        proved.await.map_err(|_| SinkError::Answer("the proof cannot be made"))?.map_err(SinkError::Read)
    }
}

/// Returns the size of the checkpoint in a file.
fn kept_size(file: &Path) -> Option<u64> {
    let mut note = Vec::new();
    std::fs::File::open(file).ok()?.take(MAX_NOTE).read_to_end(&mut note).ok()?;
    Some(PublishedCheckpoint::parse(&note)?.size)
}
