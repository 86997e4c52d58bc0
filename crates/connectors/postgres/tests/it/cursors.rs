//! Who may go on in a result, and where a later page runs: as the same role, behind a pooler, on a replica.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use trunkline_service::Caller;
use trunkline_testkit::pgbouncer::PgBouncer;
use trunkline_testkit::postgres::{self, Client, PrivatePostgres};

use crate::bypass::with_user;
use crate::pages::{
    COUNT_OPEN, Connector, SERIES, all, call, caller, connector, content, error, numbers, read, with_cursor,
};
use crate::support::eventually;

const IDENTITY: &str = "max-rows = 100\nsession = { \"app.tenant\" = \"caller.claims.tenant\" }\nrole = \"caller.claims.db_role\"\n";

/// What tells whose rows they are, and as whom they were read.
const ORDERS: &str = "select n, tenant, current_user::text as reader from orders order by n";

/// The declared tool, and the one for callers' own statements.
fn ways() -> [(u32, Json); 2] {
    [(0, json!({})), (1, json!({ "sql": ORDERS }))]
}

/// A server whose login may read nothing itself, and takes on a role that sees the rows of its tenant.
async fn tenants() -> (PrivatePostgres, Client, Connector) {
    let server = PrivatePostgres::start().await;
    let outside = Client::connect(&server.url("postgres")).await;
    outside
        .run(
            "create role app login noinherit; create role support; create role billing; grant support, billing to app;
             create table orders (n int primary key, tenant text not null);
             insert into orders select n, case when n % 2 = 0 then 'even' else 'odd' end from generate_series(1, 600) n;
             alter table orders enable row level security;
             create policy own on orders using (tenant = current_setting('app.tenant'));
             grant select on orders to support, billing",
        )
        .await;
    let url = with_user(&server.url("postgres"), "app");
    let connector = connector(&url, IDENTITY, &[("orders", ORDERS)]).await;
    (server, outside, connector)
}

fn of_tenant(subject: &str, tenant: &str, role: &str) -> Arc<Caller> {
    let claims = json!({ "tenant": tenant, "db_role": role }).as_object().unwrap().clone();
    Arc::new(Caller { subject: subject.into(), claims, ..Caller::default() })
}

/// The numbers of a page, all of whose rows are of the tenant and were read as the role.
fn own(content: &Json, tenant: &str, role: &str) -> Vec<i64> {
    for row in content["rows"].as_array().unwrap() {
        assert_eq!((&row["tenant"], &row["reader"]), (&json!(tenant), &json!(role)), "{row}");
    }
    numbers(content)
}

const END_IDLE: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                        where state = 'idle in transaction' and datname = current_database()";

#[tokio::test]
async fn every_page_runs_as_the_same_role_and_sees_the_rows_of_the_same_tenant() {
    let (_server, outside, connector) = tenants().await;
    let odd = of_tenant("ann", "odd", "support");
    for (target, arguments) in ways() {
        // Without an open cursor, with one, and with one that is gone when its caller comes back.
        for (round, ended) in [(0, false), (1, false), (2, true)] {
            let (mut found, mut next) = (Vec::new(), arguments.clone());
            loop {
                let result = call(&connector, &odd, target, &next).await;
                let content = content(&result);
                found.extend(own(content, "odd", "support"));
                if content["nextCursor"].is_null() {
                    break;
                }
                if ended {
                    // One of a page before may still be on its way out.
                    assert_ne!(outside.value(END_IDLE).await.unwrap(), "0");
                }
                next = with_cursor(&arguments, &content["nextCursor"]);
            }
            let expected: Vec<i64> = (1..=600).filter(|n| n % 2 == 1).collect();
            assert_eq!(found, expected, "{arguments}, round {round}");
        }
    }
}

#[tokio::test]
async fn a_cursor_shows_nothing_to_another_caller_or_to_the_same_one_with_other_claims() {
    let (_server, outside, connector) = tenants().await;
    let ann = of_tenant("ann", "odd", "support");
    for (target, arguments) in ways() {
        call(&connector, &ann, target, &arguments).await;
        let first = call(&connector, &ann, target, &arguments).await;
        let next = with_cursor(&arguments, &content(&first)["nextCursor"]);
        assert_ne!(outside.value(COUNT_OPEN).await.unwrap(), "0", "it waits in the open cursor");
        for bob in [of_tenant("bob", "even", "support"), of_tenant("bob", "odd", "support")] {
            let told = call(&connector, &bob, target, &next).await;
            assert_eq!(
                error(&told),
                "the cursor has expired or is not of this caller; call without it",
                "{arguments}"
            );
        }
        // Who is the same by name and sees other rows, or the same ones as another role, goes on in no one's cursor.
        for changed in [of_tenant("ann", "even", "support"), of_tenant("ann", "odd", "billing")] {
            let told = call(&connector, &changed, target, &next).await;
            assert_eq!(
                error(&told),
                "the rows changed since the last page; call again without `cursor`",
                "{arguments}"
            );
        }
        let nobody = Arc::new(Caller { subject: "ann".into(), ..Caller::default() });
        assert!(error(&call(&connector, &nobody, target, &next).await).contains("`session.app.tenant`"));
        // None of that cost the caller whose cursor it is.
        let second = call(&connector, &ann, target, &next).await;
        assert_eq!(own(content(&second), "odd", "support")[0], 201, "{arguments}");
    }
}

#[tokio::test]
async fn a_cursor_or_a_link_that_was_altered_anywhere_is_refused_before_anything_runs() {
    let database = postgres::database().await;
    let connector = connector(&database.url, "max-rows = 10", &[("list", SERIES)]).await;
    let (ann, arguments) = (caller("ann"), json!({ "count": 30 }));
    let first = call(&connector, &ann, 0, &arguments).await;
    let cursor = content(&first)["nextCursor"].as_str().unwrap().to_owned();
    let uri = first["content"][1]["uri"].as_str().unwrap().to_owned();
    let sealed = uri.rsplit_once('/').unwrap().1.to_owned();
    drop(database.client().await.value(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    ).await);
    let open = "select count(*) from pg_stat_activity where application_name = 'trunkline' and datname = current_database()";
    let watcher = database.client().await;
    eventually(Duration::from_secs(5), async || watcher.value(open).await.unwrap() == "0").await;
    for forged in altered(&cursor) {
        let told = call(&connector, &ann, 0, &with_cursor(&arguments, &json!(forged))).await;
        assert_eq!(
            error(&told),
            "the cursor has expired or is not of this caller; call without it",
            "{forged}"
        );
    }
    for forged in altered(&sealed) {
        let told = read(&connector, &ann, &uri.replace(&sealed, &forged)).await.unwrap_err();
        assert!(told.public().contains("has expired or is not of this caller"), "{forged}: {told}");
    }
    // What is sealed for the one is not taken for the other.
    let told = call(&connector, &ann, 0, &with_cursor(&arguments, &json!(sealed))).await;
    assert!(error(&told).contains("expired"), "{told}");
    let told = read(&connector, &ann, &uri.replace(&sealed, &cursor)).await.unwrap_err();
    assert!(told.public().contains("expired"), "{told}");
    assert_eq!(watcher.value(open).await.unwrap(), "0", "nothing was asked of the database");
    let next = call(&connector, &ann, 0, &with_cursor(&arguments, &json!(cursor))).await;
    assert_eq!(numbers(content(&next)), (11..=20).collect::<Vec<i64>>());
}

/// The text with one bit of each character's six flipped, cut short, and made longer.
fn altered(sealed: &str) -> Vec<String> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let flipped = (0..sealed.len()).map(|at| {
        let mut bytes = sealed.as_bytes().to_vec();
        let value = DIGITS.iter().position(|digit| *digit == bytes[at]).unwrap();
        bytes[at] = DIGITS[value ^ (1 << (at % 6))];
        String::from_utf8(bytes).unwrap()
    });
    let mut all: Vec<String> = flipped.collect();
    all.extend([sealed[1..].to_owned(), sealed[..sealed.len() - 4].to_owned(), format!("{sealed}AAAA")]);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_turned_behind_a_pooler_and_hold_up_nobody_else() {
    let server = PrivatePostgres::start().await;
    let outside = Client::connect(&server.url("postgres")).await;
    outside.run("create table t as select n, 'a' s from generate_series(1, 450) n").await;
    let bouncer = PgBouncer::start(server.port(), "").await;
    // Many more connections than the pooler has sessions: an open cursor would keep one of those from everybody.
    let keys = "max-rows = 100\npool = 20\nconnect-timeout = '20s'";
    let tools = [("list", "select n, s from t order by n"), ("one", "select n from t where n = :count::int")];
    let connector = connector(&bouncer.url("postgres"), keys, &tools).await;
    let ann = caller("ann");
    for _ in 0..2 {
        assert_eq!(all(&connector, &ann, 0, &json!({})).await, ((1..=450).collect(), 5));
    }
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..6 {
        let connector = Arc::clone(&connector);
        callers.spawn(async move {
            let caller = caller(&format!("caller {number}"));
            // Leaves a page behind that it never turns.
            call(&connector, &caller, 0, &json!({})).await;
            let found = all(&connector, &caller, 0, &json!({})).await;
            assert_eq!(found, ((1..=450).collect(), 5));
            let one = call(&connector, &caller, 1, &json!({ "count": 7 })).await;
            assert_eq!(numbers(content(&one)), [7]);
        });
    }
    // Less than an open cursor would wait for its caller.
    let finished = tokio::time::timeout(Duration::from_secs(15), callers.join_all()).await;
    assert_eq!(finished.unwrap().len(), 6);
    assert_eq!(outside.value(COUNT_OPEN).await.as_deref(), Some("0"));
    let sessions = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
    // The pooler ends one that a client left in the middle of something.
    let open = outside.value(sessions).await.unwrap();
    assert!(["1", "2"].contains(&&*open), "{open}");
}

#[tokio::test]
async fn pages_are_read_on_a_replica_and_go_on_at_the_primary_when_it_is_gone() {
    let primary = PrivatePostgres::start().await;
    Client::connect(&primary.url("postgres"))
        .await
        .run("create table t as select n, 'a' s from generate_series(1, 350) n")
        .await;
    let mut replica = primary.replica().await;
    let keys = format!("max-rows = 100\nreplicas = [{:?}]", replica.url("postgres"));
    let sql = "select n, inet_server_port() as server from t order by n";
    let rows = "select n, s from t order by n";
    let connector = connector(&primary.url("postgres"), &keys, &[("where", sql), ("list", rows)]).await;
    let ann = caller("ann");
    let on_replica = Client::connect(&replica.url("postgres")).await;
    for round in 0..2 {
        let (mut next, mut found) = (json!({}), Vec::new());
        loop {
            let result = call(&connector, &ann, 0, &next).await;
            let content = content(&result);
            for row in content["rows"].as_array().unwrap() {
                assert_eq!(row["server"], replica.port(), "round {round}");
            }
            found.extend(numbers(content));
            if content["nextCursor"].is_null() {
                break;
            }
            let waits = on_replica.value(COUNT_OPEN).await.unwrap();
            assert_eq!(waits, if round == 0 && found.len() == 100 { "0" } else { "1" });
            next = with_cursor(&json!({}), &content["nextCursor"]);
        }
        assert_eq!(found, (1..=350).collect::<Vec<i64>>());
    }
    // The same rows come from the primary, whether the cursor was open there or not.
    call(&connector, &ann, 1, &json!({})).await;
    let first = call(&connector, &ann, 1, &json!({})).await;
    assert_eq!(on_replica.value(COUNT_OPEN).await.unwrap(), "1");
    replica.kill();
    let second = call(&connector, &ann, 1, &with_cursor(&json!({}), &content(&first)["nextCursor"])).await;
    assert_eq!(numbers(content(&second)), (101..=200).collect::<Vec<i64>>());
    let watcher = Client::connect(&primary.url("postgres")).await;
    assert_eq!(watcher.value(COUNT_OPEN).await.unwrap(), "1", "the next page waits at the primary");
    let third = call(&connector, &ann, 1, &with_cursor(&json!({}), &content(&second)["nextCursor"])).await;
    assert_eq!(numbers(content(&third)), (201..=300).collect::<Vec<i64>>());
}
