//! TLS towards vendors whose connections are made here: the system's roots and those of the settings, ALPN `h2`.

use std::path::Path;
use std::sync::Arc;

use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::{ClientConfig, Error};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {source}")]
    ReadCa { path: String, source: pem::Error },
    #[error("the client certificate is not readable: {0}")]
    Identity(pem::Error),
    #[error(transparent)]
    Tls(#[from] Error),
}

/// A client certificate with its chain and key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads both from one PEM text.
    /// # Errors
    /// One of them is missing or malformed.
    pub fn from_pem(text: &[u8]) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(TlsError::Identity)?;
        let key = PrivateKeyDer::from_pem_slice(text).map_err(TlsError::Identity)?;
        Ok(Self { chain, key })
    }
}

/// Connects by HTTP/2.
/// # Errors
/// An unreadable `extra_ca_file`; an `identity` whose key does not fit its certificate; no roots at all.
pub fn http2_connector(extra_ca_file: Option<&Path>, identity: Option<Identity>) -> Result<TlsConnector, TlsError> {
    let provider = Arc::new(default_provider());
    let mut extra: Vec<CertificateDer<'static>> = Vec::new();
    if let Some(path) = extra_ca_file {
        let wrong = |source| TlsError::ReadCa { path: path.display().to_string(), source };
        extra = CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    }
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
