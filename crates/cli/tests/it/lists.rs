//! Lists and reads through the real binary: whose each page is, and that what is said of keeping them is true.

use std::fmt::Write as _;

use serde_json::{Value, json};
use trunkline_testkit::postgres::{TestDatabase, database};

use crate::support::{Folder, Server, config, eventually, http};

/// More tools, and more resources, than a page has; of those the reader may not have one, so that only the ends of lists differ.
const ROLES: &str = r#"
[auth.keys]
store = "./keys.db"
[roles.admin]
allow = ["tools:t*", "resources:*"]
[roles.reader]
allow = ["tools:t*", "resources:postgres://*"]
deny = ["tools:t255", "resources:postgres://s3/public/z"]
[roles.blind]
allow = ["tools:t000"]
"#;

/// What each list has, by its method: the member that holds it, and the member that names a thing.
const LISTS: [(&str, &str, &str); 3] = [
    ("tools/list", "tools", "name"),
    ("resources/list", "resources", "uri"),
    ("resources/templates/list", "resourceTemplates", "uriTemplate"),
];

/// A database of 90 tables, three connectors on it, and 256 tools.
async fn world(rest: &str) -> (TestDatabase, Folder) {
    let database = database().await;
    let mut tables = "create table z (id int primary key);".to_owned();
    (0..89).for_each(|number| write!(tables, "create table a_{number:02} (id int primary key);").unwrap());
    database.run(&tables).await;
    let mut text = rest.to_owned();
    for name in ["s1", "s2", "s3"] {
        let url = &database.url;
        write!(
            text,
            "[connectors.{name}]\ntype = \"postgres\"\nurl = \"{url}\"\npool = 1\ntools = [\"schema\"]\ncache = {{ ttl = \"10s\" }}\n"
        )
        .unwrap();
    }
    for number in 0..256 {
        write!(text, "[tools.t{number:03}]\nconnector = \"shop\"\nsql = \"select {number} as n\"\n").unwrap();
    }
    let folder = Folder::new();
    folder.write(&config(&text));
    (database, folder)
}

fn key(folder: &Folder, role: &str) -> String {
    let made = folder.run(&["keys", "create", role, "--role", role, "--output", "json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

/// Sends one request with a key, none where it is empty; the message that comes back.
fn ask(server: &Server, key: &str, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let name = params["uri"].as_str().map(|uri| format!("Mcp-Name: {uri}\r\n")).unwrap_or_default();
    let key = if key.is_empty() { String::new() } else { format!("Authorization: Bearer {key}\r\n") };
    let head = format!(
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{name}{key}"
    );
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let (_, answer) = http(server.address, "POST /mcp", &head, &body);
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// A list as one caller sees it.
struct Seen {
    names: Vec<String>,
    cursors: Vec<String>,
}

/// Reads a list to its end. Every page has to say the same of who may keep it.
fn read(server: &Server, key: &str, list: (&str, &str, &str), scope: &str) -> Seen {
    let (method, member, name) = list;
    let (mut names, mut cursors) = (Vec::new(), Vec::<String>::new());
    loop {
        let params = cursors.last().map_or(json!({}), |cursor| json!({ "cursor": cursor }));
        let answer = ask(server, key, method, params);
        let result = &answer["result"];
        let page = result[member].as_array().unwrap_or_else(|| panic!("{method}: {answer}"));
        names.extend(page.iter().map(|one| one[name].as_str().unwrap().to_owned()));
        // All is prepared: it stays what it is as long as the file does.
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(60_000), &json!(scope)), "{method}");
        match result["nextCursor"].as_str() {
            Some(cursor) => cursors.push(cursor.to_owned()),
            None => return Seen { names, cursors },
        }
    }
}

fn all(server: &Server, key: &str, scope: &str) -> [Seen; 3] {
    // Until then a list is about to change, and says that nobody may keep it.
    eventually("all is prepared", || {
        let ttl = ask(server, key, "tools/list", json!({}))["result"]["ttlMs"].as_u64();
        assert!(matches!(ttl, Some(0 | 60_000)), "{ttl:?}");
        ttl != Some(0)
    });
    let discovered = ask(server, key, "server/discover", json!({}));
    assert_eq!(discovered["result"]["cacheScope"], scope, "{discovered}");
    assert!(discovered["result"]["ttlMs"].is_u64(), "{discovered}");
    LISTS.map(|list| read(server, key, list, scope))
}

fn counts(seen: &[Seen; 3]) -> [(usize, usize); 3] {
    seen.each_ref().map(|seen| (seen.names.len(), seen.cursors.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_02_each_page_of_each_list_is_of_its_callers_roles_and_private() {
    let (_database, folder) = world(ROLES).await;
    let [admin, reader, blind] = ["admin", "reader", "blind"].map(|role| key(&folder, role));
    for admin_first in [true, false] {
        let server = Server::start(&folder);
        let (of_admin, of_reader) = if admin_first {
            let of_admin = all(&server, &admin, "private");
            (of_admin, all(&server, &reader, "private"))
        } else {
            let of_reader = all(&server, &reader, "private");
            (all(&server, &admin, "private"), of_reader)
        };
        // An index and 90 tables of each connector; their templates, and that of the results of the declared tools.
        assert_eq!(counts(&of_admin), [(256, 1), (273, 1), (4, 0)]);
        assert_eq!(counts(&of_reader), [(255, 1), (272, 1), (3, 0)]);
        for (denied, number) in [("t255", 0), ("postgres://s3/public/z", 1)] {
            let more: Vec<&String> = of_admin[number]
                .names
                .iter()
                .filter(|name| !of_reader[number].names.contains(name))
                .collect();
            assert_eq!(more, [denied]);
        }
        assert!(of_reader[2].names.iter().all(|template| template.starts_with("postgres://s")));
        // A cursor leads to no page of another's list, nor of another list of the same caller.
        for (number, (method, ..)) in LISTS.into_iter().enumerate().take(2) {
            let [theirs, own] = [&of_admin, &of_reader].map(|seen| &seen[number].cursors[0]);
            let other = &of_reader[1 - number].cursors[0];
            for (key, cursor) in [(&reader, theirs), (&admin, own), (&blind, theirs), (&reader, other)] {
                let refused = ask(&server, key, method, json!({ "cursor": cursor }));
                let text = refused["error"]["message"].as_str().unwrap_or_else(|| panic!("{refused}"));
                assert!(text.contains("cursor is unknown") || text.contains("not found"), "{refused}");
            }
            let again = ask(&server, &reader, method, json!({ "cursor": own }));
            assert!(again["result"].is_object(), "{again}");
        }
        assert_eq!(read(&server, &blind, LISTS[0], "private").names, ["t000"]);
        for method in ["resources/list", "resources/templates/list", "prompts/list"] {
            assert_eq!(ask(&server, &blind, method, json!({}))["error"]["code"], -32601, "{method}");
        }
        // No connector makes prompts: nobody has a list of them.
        assert_eq!(ask(&server, &admin, "prompts/list", json!({}))["error"]["code"], -32601);
        reads(&server, &admin, &reader);
    }
}

/// Reads are kept for their caller alone, and say for how long they are fresh.
fn reads(server: &Server, admin: &str, reader: &str) {
    let read = |key: &str, uri: &str| ask(server, key, "resources/read", json!({ "uri": uri }));
    let status = |answer: &Value| {
        let result = &answer["result"];
        assert_eq!(result["cacheScope"], "private", "{answer}");
        let cache = &result["_meta"]["io.trunkline/cache"];
        let (left, age) = (result["ttlMs"].as_u64().unwrap(), cache["ageMs"].as_u64().unwrap());
        // What is left and what is over are all of `ttl`, each cut to whole milliseconds.
        assert!((9_998..=10_000).contains(&(left + age)), "{answer}");
        cache["status"].as_str().unwrap().to_owned()
    };
    let table = "postgres://s1/public/a_00";
    assert_eq!([status(&read(admin, table)), status(&read(admin, table))], ["miss", "hit"]);
    assert_eq!([status(&read(reader, table)), status(&read(reader, table))], ["miss", "hit"]);
    let denied = "postgres://s3/public/z";
    assert_eq!([status(&read(admin, denied)), status(&read(admin, denied))], ["miss", "hit"]);
    let unknown = read(reader, "postgres://s3/public/y")["error"].to_string();
    assert_eq!(read(reader, denied)["error"].to_string(), unknown.replace("public/y", "public/z"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_02_lists_are_public_where_everybody_has_the_same() {
    let (_database, folder) = world("").await;
    let server = Server::start(&folder);
    let seen = all(&server, "", "public");
    assert_eq!(counts(&seen), [(259, 1), (273, 1), (4, 0)]);
    // In the same order each time.
    let again = all(&server, "", "public");
    for (seen, again) in seen.iter().zip(&again) {
        assert_eq!(seen.names, again.names);
    }
    assert!(seen[0].names.iter().take(256).is_sorted());
}
