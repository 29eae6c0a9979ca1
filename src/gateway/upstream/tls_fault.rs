//! The cause of a failed TLS handshake, in the words of the log.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::exchange::upstream_fault::TlsFault;

/// Returns the cause if an error of a connection is one of TLS.
pub(super) fn of_io(error: &io::Error) -> Option<TlsFault> {
    error.get_ref()?.downcast_ref::<Error>().map(of_rustls)
}

fn of_rustls(error: &Error) -> TlsFault {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::PeerIncompatible(_) => TlsFault::NothingInCommon,
        Error::InvalidMessage(_) => TlsFault::NotTls,
        Error::NoCertificatesPresented => TlsFault::BadCertificate,
        _ => TlsFault::Other,
    }
}

fn of_certificate(error: &CertificateError) -> TlsFault {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYetValid,
        CertificateError::Revoked => TlsFault::Revoked,
        // A signature is wrong if a trusted authority has the issuer's name and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFault::UnknownAuthority,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::OtherName
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            TlsFault::OtherPurpose
        }
        _ => TlsFault::BadCertificate,
    }
}

/// The alerts that a server sends about the client's certificate.
fn of_alert(alert: AlertDescription) -> TlsFault {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            TlsFault::ClientCertificateMissing
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => TlsFault::ClientCertificateRefused,
        AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol => TlsFault::NothingInCommon,
        _ => TlsFault::Other,
    }
}
