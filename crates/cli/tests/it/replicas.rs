//! A connector with a replica, served by the built binary: what callers and health checks are told when a server goes away.

use serde_json::{Value, json};
use trunkline_testkit::postgres::{Client, PrivatePostgres};

use crate::support::{Folder, Server, eventually, free_port, http};

fn file(primary: &str, replica: &str, admin: u16) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\n\
         [connectors.db]\ntype = \"postgres\"\nurl = \"{primary}\"\nreplicas = [\"{replica}\"]\n\
         access = \"read-write\"\n\n\
         [tools.where]\nconnector = \"db\"\nsql = \"select inet_server_port() as port\"\nreturns = \"value\"\n\n\
         [tools.add]\nconnector = \"db\"\naccess = \"read-write\"\nsql = \"insert into t values (:n)\"\n"
    )
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_primary_a_replica_serves_and_health_checks_say_so() {
    let mut primary = PrivatePostgres::start().await;
    Client::connect(&primary.url("postgres")).await.run("create table t (n int8)").await;
    let replica = primary.replica().await;
    let folder = Folder::new();
    let admin = free_port();
    folder.write(&file(&primary.url("postgres"), &replica.url("postgres"), admin));
    let server = Server::start(&folder);
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], admin));
    let ready = || http(admin, "GET /readyz", "", "");
    let port = || server.call("where", &json!({}))["result"]["structuredContent"]["value"].clone();
    eventually("it never got ready", || ready() == (200, "ok\n".to_owned()));
    assert!(server.said().contains("connector db: postgres with 1 replica, 2 tools"), "{}", server.said());
    assert_eq!(port(), json!(replica.port()));
    assert_eq!(server.call("add", &json!({ "n": 1 }))["result"]["isError"], false);
    primary.kill();
    eventually("the primary is not missed", || {
        port();
        ready() == (200, "ok\nconnector db: primary does not answer\n".to_owned())
    });
    assert_eq!(port(), json!(replica.port()));
    let failed = server.call("add", &json!({ "n": 2 }));
    assert_eq!(failed["result"]["isError"], true, "{failed}");
    assert!(text(&failed).contains("the database does not answer, so nothing was changed"), "{failed}");
    primary.restart().await;
    eventually("writes do not come back", || {
        server.call("add", &json!({ "n": 3 }))["result"]["isError"] == false
    });
}
