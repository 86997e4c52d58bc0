//! TLS to the store: the roots of the system, or the one authority that the file names.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// What is trusted cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TrustError(&'static str);

/// Reads the certificates of a file in PEM form.
///
/// # Errors
/// [`TrustError`] when there is none, or one is damaged.
pub(super) fn read_roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let roots: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| TrustError("a certificate in the file is damaged"))?;
    if roots.is_empty() { Err(TrustError("the file has no certificate in PEM form")) } else { Ok(roots) }
}

/// Decides how the store's certificate is checked: against these roots, or where there are none, the system's.
///
/// # Errors
/// [`TrustError`] when nobody is trusted.
pub(super) fn client(roots: Option<&[CertificateDer<'static>]>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(roots) => store.add_parsable_certificates(roots.iter().cloned()),
        None => store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    };
    if store.is_empty() {
        return Err(TrustError("this system trusts no certificate authority, and `ca` names none"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TrustError("no version of TLS is built in"))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
