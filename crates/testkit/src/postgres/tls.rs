//! A private PostgreSQL with TLS, and the authority that its certificates come from.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::{Client, Owner, PrivatePostgres};

/// A server with TLS on `localhost`, and users that it lets in in different ways.
///
/// Over TCP it admits `postgres` with nothing; `certified` with its certificate over TLS; `secure` with a SCRAM password
/// over TLS only; `plain` with one and only without TLS; `anyway` with one either way. All passwords are
/// [`PASSWORD`](Self::PASSWORD).
#[derive(Debug)]
pub struct SecurePostgres {
    /// The server.
    pub server: PrivatePostgres,
    /// Its authority's certificates.
    pub certificates: Certificates,
}

impl SecurePostgres {
    /// A password with what has a meaning in addresses.
    pub const PASSWORD: &str = "p@s:s/w?o %r'd\\";

    /// The same as it is written in an address.
    pub const PASSWORD_IN_URL: &str = "p%40s%3As%2Fw%3Fo%20%25r%27d%5C";

    /// Starts the server.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        let certificates = Certificates::make();
        let mut server = PrivatePostgres::start().await;
        let secret = Self::PASSWORD.replace('\'', "''");
        let client = Client::connect(&server.url("postgres")).await;
        client.run("set password_encryption = 'scram-sha-256'; create role certified login").await;
        for user in ["secure", "plain", "anyway"] {
            client.run(&format!("create role {user} login password '{secret}'")).await;
        }
        drop(client);
        // The key has to be the server's own, and nobody else's to read.
        let folder = server.data();
        let (certificate, key) = (folder.join("test.crt"), folder.join("test.key"));
        put(&certificates.server, &certificate, server.owner);
        put(&certificates.server_key, &key, server.owner);
        let authority = folder.join("authority.crt");
        put(&certificates.authority, &authority, server.owner);
        write(&folder.join("pg_hba.conf"), RULES);
        server.extra = vec![
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
            format!("ssl_ca_file={}", authority.display()),
        ];
        server.restart().await;
        Self { server, certificates }
    }

    /// Returns the address of the database `postgres` for a user, with its password and these options.
    #[must_use]
    pub fn url(&self, user: &str, host: &str, options: &str) -> String {
        let (password, port) = (Self::PASSWORD_IN_URL, self.server.port());
        format!("postgres://{user}:{password}@{host}:{port}/postgres?{options}")
    }
}

/// Files with the certificates of an authority made for a test; removed when dropped.
#[derive(Debug)]
pub struct Certificates {
    _folder: TempDir,
    /// The authority's own.
    pub authority: PathBuf,
    /// For a server on `localhost`.
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// For the user `certified`.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes an authority and what it signs.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[must_use]
    pub fn make() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("trunkline-tls-")
            .tempdir()
            .unwrap_or_else(|error| panic!("no temporary folder for certificates: {error}"));
        match sign(folder.path()) {
            Ok([authority, server, server_key, client, client_key]) => {
                Self { _folder: folder, authority, server, server_key, client, client_key }
            }
            Err(error) => panic!("no certificates: {error}"),
        }
    }
}

fn sign(folder: &Path) -> Result<[PathBuf; 5], rcgen::Error> {
    let authority_key = KeyPair::generate()?;
    let mut authority = named("Trunkline test authority", &[])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let (server_key, client_key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut server = named("localhost", &["localhost"])?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut client = named("certified", &[])?;
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let texts = [
        ("authority.crt", authority_pem),
        ("server.crt", server.signed_by(&server_key, &issuer)?.pem()),
        ("server.key", server_key.serialize_pem()),
        ("client.crt", client.signed_by(&client_key, &issuer)?.pem()),
        ("client.key", client_key.serialize_pem()),
    ];
    Ok(texts.map(|(name, text)| {
        let path = folder.join(name);
        write(&path, &text);
        path
    }))
}

fn named(name: &str, hosts: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn put(from: &Path, to: &Path, owner: Owner) {
    if let Err(error) = std::fs::copy(from, to) {
        panic!("`{}` was not written: {error}", to.display());
    }
    if let Err(error) = std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o600)) {
        panic!("`{}` is not private: {error}", to.display());
    }
    owner.give(to);
}

fn write(path: &Path, text: &str) {
    if let Err(error) = std::fs::write(path, text) {
        panic!("`{}` was not written: {error}", path.display());
    }
}

const RULES: &str = "\
local all all trust
host all postgres 127.0.0.1/32 trust
hostssl all certified 127.0.0.1/32 cert
hostssl all secure 127.0.0.1/32 scram-sha-256
hostnossl all plain 127.0.0.1/32 scram-sha-256
host all anyway 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 trust
";
