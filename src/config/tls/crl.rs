//! The certificate revocation lists (RFC 5280, 5) of the authorities of client certificates.
//!
//! The module reads lists and verifies none: a signature is verified with each certificate that a list is about.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::TlsError;

/// Maximum size of a file with revocation lists, in bytes.
const MAX_FILE: u64 = 32 << 20;

/// A certificate revocation list.
#[derive(Clone, Debug)]
pub struct RevocationList {
    /// The file that it was read from.
    pub file: PathBuf,
    /// Time by which the authority publishes the next list. From then on this one proves nothing.
    pub next_update: Timestamp,
    pub(super) der: CertificateRevocationListDer<'static>,
    /// The name of the authority, in DER.
    pub(super) issuer: Vec<u8>,
    this_update: i64,
}

/// Reads the lists of these files, PEM or DER. The newest comes first: of several lists of an authority the verifier uses
/// the first.
///
/// # Errors
/// [`TlsError`] if a file cannot be read or parsed, or holds no list.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<RevocationList>, TlsError> {
    let mut lists = Vec::new();
    for file in files {
        lists.extend(read_file(file)?);
    }
    lists.sort_by_key(|list: &RevocationList| std::cmp::Reverse(list.this_update));
    Ok(lists)
}

fn read_file(path: &Path) -> Result<Vec<RevocationList>, TlsError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| TlsError::of_io(path, &error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(TlsError::new(path, "is larger than 32 MiB"));
    }
    let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
    let lists: Vec<CertificateRevocationListDer<'static>> = match is_pem {
        true => CertificateRevocationListDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| TlsError::new(path, error))?,
        false => vec![CertificateRevocationListDer::from(bytes)],
    };
    if lists.is_empty() {
        return Err(TlsError::new(path, "holds no certificate revocation list"));
    }
    lists.into_iter().map(|der| parse(path, der)).collect()
}

fn parse(path: &Path, der: CertificateRevocationListDer<'static>) -> Result<RevocationList, TlsError> {
    let malformed = || TlsError::new(path, "is no certificate revocation list with `nextUpdate`");
    let (_, list) = CertificateRevocationList::from_der(&der).map_err(|_| malformed())?;
    let next_update = list.next_update().ok_or_else(malformed)?.timestamp();
    let next_update = Timestamp::from_second(next_update).map_err(|_| malformed())?;
    let (issuer, this_update) = (list.issuer().as_raw().to_vec(), list.last_update().timestamp());
    Ok(RevocationList { file: path.to_owned(), next_update, issuer, this_update, der })
}
