//! Connections with TLS: who is trusted, who is shown, and what a login is bound to.

use std::time::Duration;

use serde_json::json;
use trunkline_postgres::{Postgres, PostgresFile};
use trunkline_sql::{Database, DatabaseError, Run, Severity};
use trunkline_testkit::postgres::{Certificates, Client, SecurePostgres};

use crate::support::{Collector, eventually, open, prepare, rows};

/// Whether the session that asks is encrypted, and how.
const ENCRYPTED: &str = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()";

async fn refused(url: &str) -> DatabaseError {
    open(url, "").ping().await.unwrap_err()
}

async fn encrypted(postgres: &Postgres) -> bool {
    rows(postgres, ENCRYPTED, Vec::new()).await[0][0] == json!(true)
}

fn verified(secure: &SecurePostgres, mode: &str) -> String {
    format!("sslmode={mode}&sslrootcert={}", secure.certificates.authority.display())
}

#[tokio::test]
async fn a_verified_server_is_reached_and_bound_to_the_login() {
    let secure = SecurePostgres::start().await;
    let full = verified(&secure, "verify-full");
    let bound = format!("{full}&channel_binding=require");
    for options in [&full, &bound, &verified(&secure, "verify-ca")] {
        assert!(encrypted(&open(&secure.url("secure", "localhost", options), "")).await, "{options}");
    }
    // The other form of an address.
    let port = secure.server.port();
    let authority = secure.certificates.authority.display();
    let pairs = format!(
        r"host=localhost port={port} user=secure dbname=postgres password='p@s:s/w?o %r\'d\\' sslmode = 'verify-full' sslrootcert={authority}"
    );
    assert!(encrypted(&open(&pairs, "")).await);
    // Without TLS there is nothing to bind to.
    let plain = secure.url("anyway", "localhost", "sslmode=disable&channel_binding=require");
    let error = refused(&plain).await;
    assert!(
        matches!(&error, DatabaseError::Rejected { message, .. } if message.contains("channel_binding")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_with_another_name_or_of_another_authority_is_refused() {
    let secure = SecurePostgres::start().await;
    let other = Certificates::make();
    let unknown = format!("sslmode=verify-full&sslrootcert={}", other.authority.display());
    for (host, options, why) in [
        ("127.0.0.1", verified(&secure, "verify-full"), "another name"),
        ("localhost", unknown.clone(), "authorities"),
        ("localhost", unknown.replace("verify-full", "verify-ca"), "authorities"),
        // As libpq does it: who names an authority wants it asked.
        ("localhost", unknown.replace("verify-full", "require"), "authorities"),
        ("localhost", "sslmode=verify-full&sslrootcert=system".to_owned(), "authorities"),
    ] {
        let error = refused(&secure.url("secure", host, &options)).await;
        let DatabaseError::Rejected { message, .. } = &error else { panic!("{options}: {error:?}") };
        assert!(message.contains(why) && !message.contains("localhost"), "{message}");
    }
    // Whose name it is does not matter here.
    assert!(encrypted(&open(&secure.url("secure", "127.0.0.1", &verified(&secure, "verify-ca")), "")).await);
    // A server's own certificate is trusted when it is the one that was named.
    let own = format!("sslmode=verify-full&sslrootcert={}", secure.certificates.server.display());
    assert!(encrypted(&open(&secure.url("secure", "localhost", &own), "")).await);
}

#[tokio::test]
async fn require_encrypts_with_whoever_answers_and_says_so() {
    let secure = SecurePostgres::start().await;
    let url = secure.url("secure", "127.0.0.1", "sslmode=require&channel_binding=require");
    let file: PostgresFile = toml::from_str(&format!("url = {url:?}")).unwrap();
    let (postgres, options) = file.resolve("shop").unwrap();
    assert!(encrypted(&postgres).await);
    let [warning] = &options.warnings[..] else { panic!("{:?}", options.warnings) };
    assert_eq!(warning.severity, Severity::Warning);
    assert!(warning.message.contains("not verified"), "{warning:?}");
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let secure = SecurePostgres::start().await;
    let certificates = &secure.certificates;
    let own =
        format!("sslcert={}&sslkey={}", certificates.client.display(), certificates.client_key.display());
    let full = verified(&secure, "verify-full");
    assert!(encrypted(&open(&secure.url("certified", "localhost", &format!("{full}&{own}")), "")).await);
    let error = refused(&secure.url("certified", "localhost", &full)).await;
    assert!(matches!(error, DatabaseError::Rejected { .. }), "{error:?}");
    // A key of another certificate is found before anything is connected.
    let wrong = own.replace(
        &certificates.client_key.display().to_string(),
        &certificates.server_key.display().to_string(),
    );
    let url = secure.url("certified", "localhost", &format!("{full}&{wrong}"));
    let file: PostgresFile = toml::from_str(&format!("url = {url:?}")).unwrap();
    let problems = file.resolve("shop").unwrap_err();
    assert!(problems[0].message.contains("sslkey"), "{problems:?}");
}

#[tokio::test]
async fn prefer_and_allow_take_what_the_server_has() {
    let secure = SecurePostgres::start().await;
    for (user, mode, is_encrypted) in [
        ("anyway", "prefer", true),
        ("anyway", "allow", false),
        // The server has no place for the login that was tried first.
        ("plain", "prefer", false),
        ("secure", "allow", true),
    ] {
        let postgres = open(&secure.url(user, "localhost", &format!("sslmode={mode}")), "");
        assert_eq!(encrypted(&postgres).await, is_encrypted, "{user} {mode}");
    }
    let without = trunkline_testkit::postgres::PrivatePostgres::start().await;
    assert!(!encrypted(&open(&without.url("postgres"), "")).await);
    let error = refused(&format!("{}?sslmode=require", without.url("postgres"))).await;
    assert!(matches!(error, DatabaseError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_login_that_is_refused_is_told_apart_from_a_server_that_is_down() {
    let secure = SecurePostgres::start().await;
    let good = secure.url("anyway", "localhost", "sslmode=disable");
    let wrong = [
        (good.replace(SecurePostgres::PASSWORD_IN_URL, "hunter2"), "password is wrong"),
        (good.replace("/postgres?", "/nowhere?"), "no such database"),
        (secure.url("secure", "localhost", "sslmode=disable"), "no place for this login"),
        (good.replace(&format!(":{}@", SecurePostgres::PASSWORD_IN_URL), "@"), "asks for a password"),
    ];
    for (url, why) in wrong {
        let postgres = open(&url, "");
        for _ in 0..2 {
            let error = postgres.ping().await.unwrap_err();
            let DatabaseError::Rejected { message, hint, .. } = &error else { panic!("{error:?}") };
            assert!(message.contains(why), "{message}");
            let told = format!("{message} {hint}");
            assert!(
                ["hunter2", "anyway", "nowhere", "localhost"].iter().all(|part| !told.contains(part)),
                "{told}"
            );
        }
    }
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_over_tls() {
    let secure = SecurePostgres::start().await;
    let options = verified(&secure, "verify-full");
    let postgres = open(&secure.url("secure", "localhost", &options), "pool = 1");
    let (statement, _) = prepare(&postgres, "select pg_sleep(30), random()").await;
    let call = postgres.run(&statement, Run::new(Vec::new(), Collector::default()));
    assert!(tokio::time::timeout(Duration::from_millis(300), call).await.is_err());
    let watcher = Client::connect(&secure.server.url("postgres")).await;
    let sleeping = "select count(*) from pg_stat_activity where usename = 'secure' and state = 'active'";
    eventually(Duration::from_secs(1), async || watcher.value(sleeping).await.as_deref() == Some("0")).await;
}
