//! TLS to the database: which certificates are trusted, which one is shown, and what binds a login to the connection.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use crate::cancel::poll_end;
use crate::framing::{Meter, Walk};
use crate::url::Refusal;

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Never.
    Disable,
    /// Only where the server insists.
    Allow,
    /// Where the server has it.
    Prefer,
    /// Always, with whoever answers.
    Require,
    /// Always, with a server whose certificate a trusted authority signed.
    VerifyCa,
    /// Always, with a server whose certificate is also for the host's name.
    VerifyFull,
}

impl Mode {
    /// Reads the option's value.
    ///
    /// # Errors
    /// [`Refusal`] when there is no such mode.
    pub(crate) fn read(text: &str) -> Result<Self, Refusal> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err(Refusal::new(
                    "`sslmode` has no value that is allowed there",
                    "write `verify-full`, `verify-ca`, `require`, `prefer`, `allow` or `disable`",
                ));
            }
        })
    }
}

/// The files that an address names, none of them read.
#[derive(Debug, Default)]
pub(crate) struct TlsFiles {
    /// `sslrootcert`: a file, or `system`.
    pub(crate) roots: Option<String>,
    /// `sslcert`.
    pub(crate) certificate: Option<String>,
    /// `sslkey`.
    pub(crate) key: Option<String>,
}

/// How connections are encrypted, all files read.
#[derive(Clone)]
pub(crate) struct Tls {
    mode: Mode,
    /// Whether the address says so itself.
    is_written: bool,
    /// `None` for [`Mode::Disable`].
    config: Option<Arc<ClientConfig>>,
}

impl Tls {
    /// Decides what is trusted and reads the files.
    ///
    /// # Errors
    /// [`Refusal`] that names the option whose file cannot be used.
    pub(crate) fn new(mode: Option<Mode>, files: TlsFiles, is_direct: bool) -> Result<Self, Refusal> {
        let is_system = files.roots.as_deref() == Some(SYSTEM);
        let is_written = mode.is_some();
        let mode = match (mode, &files.roots) {
            (None, Some(_)) if is_system => Mode::VerifyFull,
            (Some(mode), Some(_)) if is_system && mode != Mode::VerifyFull => {
                return Err(Refusal::new(
                    "`sslrootcert=system` trusts everyone who can get a certificate, which only a check of the name makes safe",
                    "write `sslmode=verify-full` beside it, or name the file of your own authority",
                ));
            }
            // As libpq does it.
            (Some(Mode::Require), Some(_)) => Mode::VerifyCa,
            (mode, _) => mode.unwrap_or(Mode::Prefer),
        };
        let identity = identity(&files)?;
        if mode == Mode::Disable {
            return Ok(Self { mode, is_written, config: None });
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trust = match mode {
            Mode::VerifyCa => Trust::Chain,
            Mode::VerifyFull => Trust::Name,
            _ => Trust::Anyone,
        };
        let (roots, pinned) = match trust {
            Trust::Anyone => (RootCertStore::empty(), Vec::new()),
            Trust::Chain | Trust::Name => roots(files.roots.as_deref())?,
        };
        let verifier = Verifier { trust, roots, pinned, provider: Arc::clone(&provider) };
        let unusable = |error: rustls::Error| {
            Refusal::new(format!("TLS cannot be set up: {error}"), "correct `sslcert` and `sslkey`")
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|_| {
                Refusal::new(
                    "the key of `sslkey` does not belong to the certificate of `sslcert`",
                    "name a pair",
                )
            })?,
        };
        if is_direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Self { mode, is_written, config: Some(Arc::new(config)) })
    }

    /// Returns the way to connect, and the one for a server that does not take the first.
    pub(crate) fn ways(&self) -> (SslMode, Option<SslMode>) {
        match self.mode {
            Mode::Disable => (SslMode::Disable, None),
            Mode::Allow => (SslMode::Disable, Some(SslMode::Require)),
            Mode::Prefer => (SslMode::Prefer, Some(SslMode::Disable)),
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => (SslMode::Require, None),
        }
    }

    /// Says that nobody checks who answers, when that is so and someone should know.
    pub(crate) fn warning(&self, is_local: bool) -> Option<Refusal> {
        let help = "write `sslmode=verify-full`, with `sslrootcert=FILE` for an authority of your own";
        match self.mode {
            Mode::Require => Some(Refusal::new(
                "the connection is encrypted, but who answers is not verified: `sslmode=require` takes every certificate",
                help,
            )),
            Mode::Prefer | Mode::Allow if self.is_written || !is_local => Some(Refusal::new(
                "the connection may go unencrypted, and who answers is not verified: that is what `sslmode=prefer`, the default, and `sslmode=allow` mean",
                help,
            )),
            _ => None,
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("mode", &self.mode).finish_non_exhaustive()
    }
}

// ---- files ----

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(files: &TlsFiles) -> Result<Option<Identity>, Refusal> {
    let (certificate, key) = match (&files.certificate, &files.key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => {
            return Err(Refusal::new("`sslcert` stands without `sslkey`", "name the key's file, too"));
        }
        (None, Some(_)) => {
            return Err(Refusal::new(
                "`sslkey` stands without `sslcert`",
                "name the certificate's file, too",
            ));
        }
    };
    let chain = certificates("sslcert", certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read("sslkey", key)?).map_err(|_| {
        Refusal::new(
            "the file of `sslkey` holds no private key that can be read",
            "it must be PEM and not protected by a password",
        )
    })?;
    Ok(Some((chain, key)))
}

fn certificates(option: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(option, path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(Refusal::new(
            format!("the file of `{option}` holds no certificate that can be read"),
            "it must be PEM, beginning with `-----BEGIN CERTIFICATE-----`",
        )),
    }
}

fn read(option: &'static str, path: &str) -> Result<Vec<u8>, Refusal> {
    let metadata = std::fs::metadata(path);
    let content = match metadata {
        Ok(metadata) if metadata.len() > LARGEST_FILE => {
            return Err(Refusal::new(
                format!("the file of `{option}` has more than {LARGEST_FILE} bytes"),
                "name a PEM file",
            ));
        }
        Ok(_) => std::fs::read(path),
        Err(error) => Err(error),
    };
    content.map_err(|error| {
        Refusal::new(
            format!("the file of `{option}` cannot be read: {}", error.kind()),
            "write its whole path, and let the user this program runs as read it",
        )
    })
}

/// Who is trusted, and the same certificates as they are.
fn roots(written: Option<&str>) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Refusal> {
    let mut store = RootCertStore::empty();
    let Some(path) = written.filter(|path| *path != SYSTEM) else {
        // One that cannot be read is no reason to do without the others.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(Refusal::new(
                "this system has no list of trusted authorities",
                "install its package of certificates (`ca-certificates`), or write `sslrootcert=FILE`",
            ));
        }
        return Ok((store, Vec::new()));
    };
    let found = certificates("sslrootcert", path)?;
    if store.add_parsable_certificates(found.iter().cloned()).0 == 0 {
        return Err(Refusal::new(
            "no certificate in the file of `sslrootcert` can be an authority",
            "name the certificate of the authority that signed the server's",
        ));
    }
    Ok((store, found))
}

// ---- who is trusted ----

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Anyone,
    Chain,
    Name,
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    roots: RootCertStore,
    /// The certificates of the file. A server may show one of them itself, as those do that signed their own.
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trust == Trust::Anyone {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.pinned.iter().any(|pinned| pinned == end_entity) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if self.trust == Trust::Name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    // Checked for whomever, or a login bound to the certificate would prove nothing.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Tells in our own words why a certificate was not taken; `None` when that was not it. The library's text holds names.
pub(crate) fn distrust(error: &tokio_postgres::Error) -> Option<&'static str> {
    use rustls::CertificateError as Fault;
    let source = std::error::Error::source(error)?;
    let error = source.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(fault) = error else { return None };
    Some(match fault {
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            "it is for another name than the host's (only a subject alternative name counts)"
        }
        Fault::UnknownIssuer | Fault::BadSignature => "none of the trusted authorities signed it",
        Fault::Expired | Fault::ExpiredContext { .. } => "it has expired",
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => "it is not valid yet",
        _ => "it is not valid",
    })
}

// ---- for the driver ----

impl Tls {
    /// Prepares TLS with a host.
    ///
    /// # Errors
    /// That the name can be in no certificate, where it is to be looked for in one.
    pub(crate) fn handshake(&self, domain: &str) -> Result<Handshake, io::Error> {
        let name = match ServerName::try_from(domain) {
            Ok(name) => name.to_owned(),
            Err(error) if self.mode == Mode::VerifyFull => return Err(io::Error::other(error)),
            // A name that cannot be in a certificate, where it is not looked for: an address sends none.
            Err(_) => ServerName::from(std::net::IpAddr::from([0, 0, 0, 0])),
        };
        Ok(Handshake { config: self.config.clone(), name, is_lingering: false, meter: Arc::default() })
    }
}

/// TLS about to be begun on a connection.
#[derive(Debug)]
pub(crate) struct Handshake {
    config: Option<Arc<ClientConfig>>,
    name: ServerName<'static>,
    is_lingering: bool,
    meter: Arc<Meter>,
}

impl Handshake {
    /// Has the connection closed by the other side first.
    pub(crate) fn lingering(self) -> Self {
        Self { is_lingering: true, ..self }
    }

    /// Has what is seen of the connection's messages noted there.
    pub(crate) fn watched(self, meter: Arc<Meter>) -> Self {
        Self { meter, ..self }
    }
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted<S>, io::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let Some(config) = self.config else { return Err(io::Error::other("TLS is off")) };
            let connector = tokio_rustls::TlsConnector::from(config);
            let stream = Box::new(connector.connect(self.name, stream).await?);
            Ok(Encrypted { stream, walk: Walk::new(self.meter), is_lingering: self.is_lingering })
        })
    }
}

/// An encrypted connection, whose messages are followed.
#[derive(Debug)]
pub(crate) struct Encrypted<S> {
    stream: Box<tokio_rustls::client::TlsStream<S>>,
    walk: Walk,
    is_lingering: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, connection) = self.stream.get_ref();
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        match shown.and_then(|certificate| end_point(certificate)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, walk, .. } = self.get_mut();
        walk.poll_read(stream, context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_lingering {
            return poll_end(Pin::new(&mut self.stream), context);
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

// ---- channel binding ----

/// Returns the hash of a certificate that both sides of a login know: by the hash of its own signature, or SHA-256 where
/// that is an old one. Spec: RFC 5929 section 4.1.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, content, _) = element(certificate)?;
    let (_, _, after_signed) = element(content)?;
    let (_, algorithm, _) = element(after_signed)?;
    let (_, name, parameters) = element(algorithm)?;
    let hash = match name {
        RSA_MD5 | RSA_SHA1 | ECDSA_SHA1 | RSA_SHA256 | ECDSA_SHA256 => &digest::SHA256,
        RSA_SHA384 | ECDSA_SHA384 => &digest::SHA384,
        RSA_SHA512 | ECDSA_SHA512 => &digest::SHA512,
        RSA_PSS => pss_hash(parameters),
        // Ed25519 and what comes after it has no hash of its own, and nothing says which to take.
        _ => return None,
    };
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// The hash is the first thing named in the parameters, and SHA-1 when it is not named.
fn pss_hash(parameters: &[u8]) -> &'static digest::Algorithm {
    let at = parameters.windows(SHA2.len()).position(|window| window == SHA2);
    match at.and_then(|at| parameters.get(at + SHA2.len())) {
        Some(2) => &digest::SHA384,
        Some(3) => &digest::SHA512,
        _ => &digest::SHA256,
    }
}

/// Reads one element of DER: its tag, what it holds, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..0x80 => (usize::from(*short), rest),
        long => {
            let count = usize::from(long & 0x7f);
            if !(1..=4).contains(&count) {
                return None;
            }
            let length = rest.get(..count)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest.get(count..)?)
        }
    };
    Some((*tag, rest.get(..length)?, rest.get(length..)?))
}

const RSA_MD5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4];
const RSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12];
const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13];
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
/// What the names of SHA-256, SHA-384 and SHA-512 begin with.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];

/// The value of `sslrootcert` that means the system's own list.
const SYSTEM: &str = "system";

const LARGEST_FILE: u64 = 4 << 20;
