//! The tools and resources that a PostgreSQL connector makes by itself, through the real binary.

use serde_json::{Value, json};
use trunkline_testkit::postgres::database;

use crate::support::{Folder, Server, ask, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_makes_tools_and_resources_for_whoever_looks_after_its_database() {
    let database = database().await;
    database
        .run(
            "create table customers (id int primary key, name text);
             comment on table customers is 'Who buys';
             create table orders (id int primary key, customer_id int references customers);
             insert into orders select g, null from generate_series(1, 100) g; analyze",
        )
        .await;
    let folder = Folder::new();
    let config = |tools: &str| {
        format!(
            "[server]\nname = \"test\"\nlisten = \"127.0.0.1:{}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n\
             [connectors.shop]\ntype = \"postgres\"\nurl = \"{}\"\n{tools}\n\
             [tools.count]\nconnector = \"shop\"\nsql = \"select count(*) from orders\"\n",
            free_port(),
            free_port(),
            database.url
        )
    };
    folder.write(&config("tools = [\"schema\", \"explain\", \"indexes\", \"health\"]"));
    let checked = folder.run(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let server = Server::start(&folder);
    assert_eq!(server.tools(), ["count", "shop_schema", "shop_explain", "shop_indexes", "shop_health"]);
    let call = |tool: &str, arguments: Value| {
        let answer = server.call(tool, &arguments);
        let result = &answer["result"];
        assert_eq!(result["isError"], false, "{answer}");
        result["structuredContent"].clone()
    };
    assert_eq!(call("count", json!({}))["rowCount"], 1);
    let found = call("shop_schema", json!({ "search": "buys" }));
    assert_eq!(found["tables"][0]["name"], "customers");
    let plan = call("shop_explain", json!({ "sql": "select * from orders", "analyze": true }));
    assert_eq!(plan["plan"]["Node Type"], "Seq Scan");
    let advice = call("shop_indexes", json!({}));
    assert!(advice["create"][0]["statement"].as_str().unwrap().contains("(customer_id)"), "{advice}");
    assert!(call("shop_health", json!({}))["checks"].as_array().unwrap().len() > 10);

    let listed = ask(server.address, "resources/list", None, json!({}));
    let uris: Vec<&str> = listed["result"]["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["uri"].as_str().unwrap())
        .collect();
    assert_eq!(
        uris,
        ["postgres://shop/", "postgres://shop/public/customers", "postgres://shop/public/orders"]
    );
    let uri = "postgres://shop/public/orders";
    let read = ask(server.address, "resources/read", Some(uri), json!({ "uri": uri }));
    let text = read["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{read}"));
    let table: Value = serde_json::from_str(text).unwrap();
    assert_eq!(table["foreignKeys"][0]["references"]["table"], "customers");
    let templates = ask(server.address, "resources/templates/list", None, json!({}));
    assert_eq!(
        templates["result"]["resourceTemplates"][0]["uriTemplate"],
        "postgres://shop/{schema}/{table}"
    );
    let reference = json!({ "type": "ref/resource", "uri": "postgres://shop/{schema}/{table}" });
    let argument = json!({ "name": "table", "value": "cu" });
    let params = json!({ "ref": reference, "argument": argument });
    let completed = ask(server.address, "completion/complete", None, params);
    assert_eq!(completed["result"]["completion"]["values"], json!(["customers"]), "{completed}");
    drop(server);

    folder.write(&config(""));
    let server = Server::start(&folder);
    assert_eq!(server.tools(), ["count"]);
    drop(server);
    folder.write(&config("tools = [\"schemas\"]"));
    let checked = folder.run(&["check"]);
    let told =
        format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert_eq!(checked.status.code(), Some(78), "{told}");
    assert!(told.contains("did you mean `schema`?"), "{told}");
}
