//! Reload: a good file is applied while calls go on, a bad one changes nothing and says so.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_testkit::within;

use crate::support::{COUNT, Folder, SLOW, Server, ask, call, config, free_port, pause};

const STAYS: &str = "the configuration stays as it was";
const RELOADED: &str = "the configuration was reloaded";

/// Makes `change` while a call runs, waits for what the server says of it, and returns that.
fn change_during_a_call(server: &mut Server, expected: &str, change: impl FnOnce()) -> String {
    let before = server.said();
    let address = server.address;
    let running = std::thread::spawn(move || call(address, "slow", &json!({ "n": 1_000_000 })));
    pause();
    pause();
    change();
    let after = server.wait_for_more(&before, expected);
    let answer = running.join().unwrap();
    assert_eq!(
        answer["result"]["structuredContent"]["rows"][0]["x"], 1_000_000,
        "the call in flight completes: {answer}"
    );
    assert!(server.is_running());
    after[before.len()..].to_owned()
}

#[test]
fn ci_01_saving_a_broken_configuration() {
    let folder = Folder::new();
    let good = config(&format!("{SLOW}{COUNT}"));
    folder.write(&good);
    let mut server = Server::start(&folder);
    let tools = server.tools();

    let down = format!(
        "[connectors.down]\ntype = \"postgres\"\nurl = \"postgres://127.0.0.1:{}/db\"\nconnect-timeout = \"1s\"\n",
        free_port()
    );
    let bad: [(&str, String, &str); 7] = [
        ("half a file", good[..good.len() / 2].to_owned() + "\"", "trunkline.toml:"),
        ("invalid syntax", good.clone() + "= = =\n", "trunkline.toml:16:1"),
        ("an unknown key", good.clone() + "titel = \"x\"\n", "trunkline.toml:16:1"),
        (
            "an address that does not parse",
            good.clone() + "[connectors.x]\ntype = \"postgres\"\nurl = \"nonsense\"\n",
            "trunkline.toml:18:7",
        ),
        ("an address that does not answer", good.clone() + &down, "trunkline.toml:16:13"),
        ("a typo in the SQL", good.replace("from customers", "from custmers"), "trunkline.toml:15:"),
        ("an empty file", String::new(), "trunkline.toml:1:1"),
    ];
    for (what, text, place) in bad {
        let before = server.said().len();
        // In one step: what a server says of half of it, should it read that, is another thing.
        change_during_a_call(&mut server, STAYS, || folder.replace(&text));
        // The file and the line follow the headline.
        let said = server.wait_for(|all| all[before..].contains(place).then(|| all[before..].to_owned()));
        assert_eq!(said.matches(STAYS).count(), 1, "{what}: {said}");
        assert_eq!(server.tools(), tools, "{what}");
    }
    change_during_a_call(&mut server, STAYS, || fs::remove_file(folder.config()).unwrap());
    assert_eq!(server.tools(), tools, "the file is gone");

    let renamed = format!("{good}[tools.another]\nconnector = \"shop\"\nsql = \"select 1 as one\"\n");
    change_during_a_call(&mut server, RELOADED, || folder.replace(&renamed));
    assert_eq!(server.tools(), ["slow", "count_customers", "another"]);
    assert_eq!(server.call("another", &json!({}))["result"]["structuredContent"]["rows"][0]["one"], 1);
}

#[test]
fn a_file_that_is_written_bit_by_bit_takes_nothing_away_and_counts_once_it_is_whole() {
    let folder = Folder::new();
    let good = config(COUNT);
    folder.write(&good);
    let server = Server::start(&folder);
    let tools = server.tools();
    let better = format!("{good}[tools.another]\nconnector = \"shop\"\nsql = \"select 1 as one\"\n");
    // As an editor does that has not much time: it empties the file, writes half of it, and later the rest.
    let mut file = fs::File::create(folder.config()).unwrap();
    let (mut said, mut rest) = (server.said(), better.as_str());
    for at in [0, better.find("[tools").unwrap() + 4, better.find("[tools.another").unwrap() + 20] {
        let (part, after) = rest.split_at(at - (better.len() - rest.len()));
        rest = after;
        file.write_all(part.as_bytes()).unwrap();
        said = server.wait_for_more(&said, STAYS);
        assert_eq!(server.tools(), tools, "after {at} bytes");
    }
    file.write_all(rest.as_bytes()).unwrap();
    server.wait_for_more(&said, RELOADED);
    assert_eq!(server.tools(), ["count_customers", "another"]);
    assert_eq!(server.said().matches(RELOADED).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ci_01_a_good_change_keeps_the_connections_of_what_did_not_change() {
    let database = trunkline_testkit::postgres::database().await;
    let pid = |name: &str| {
        format!(
            "[tools.{name}]\nconnector = \"main\"\nsql = \"select pg_backend_pid() as pid, random() as r\"\n"
        )
    };
    let main = format!("[connectors.main]\ntype = \"postgres\"\nurl = \"{}\"\npool = 1\n", database.url);
    let folder = Folder::new();
    let text = config(&format!("{main}{}", pid("first")));
    folder.write(&text);
    let server = Server::start(&folder);
    let ask = |tool: &str| {
        server.call(tool, &json!({}))["result"]["structuredContent"]["rows"][0]["pid"].as_i64().unwrap()
    };
    let before = ask("first");
    for (change, tool) in [(COUNT.to_owned(), "first"), (pid("second"), "second")] {
        let said = server.said();
        folder.write(&format!("{text}{change}"));
        server.wait_for_more(&said, RELOADED);
        assert_eq!(ask(tool), before, "the connection is the same after {change}");
    }
    let said = server.said();
    folder.write(&format!("{text}{}", pid("second")).replace("pool = 1", "pool = 2"));
    server.wait_for_more(&said, RELOADED);
    assert_ne!(ask("first"), before, "another pool has other connections");
}

#[test]
fn sighup_reads_the_file_again() {
    let folder = Folder::new();
    folder.write(&config("[tools.greet]\nconnector = \"shop\"\nsql = \"select :word as word\"\nparams.word = { type = \"string\", default = \"${file:word}\" }\n"));
    fs::write(folder.path().join("word"), "one\n").unwrap();
    let server = Server::start(&folder);
    let word = || server.call("greet", &json!({}))["result"]["structuredContent"]["rows"][0]["word"].clone();
    assert_eq!(word(), "one");
    fs::write(folder.path().join("word"), "two\n").unwrap();
    let before = server.said();
    server.signal("HUP");
    server.wait_for_more(&before, RELOADED);
    assert_eq!(word(), "two");
}

#[test]
fn a_link_that_leads_elsewhere_is_followed() {
    let folder = Folder::new();
    // A relative path would start at the folder that the link is in.
    let text = config(COUNT).replace("\"shop.db", &format!("\"{}/shop.db", folder.path().display()));
    let real = |name: &str| folder.path().join(name).join("real.toml");
    for name in ["one", "two"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(real(name), &text).unwrap();
    }
    let lead_to = |name: &str| {
        std::os::unix::fs::symlink(real(name), folder.path().join("next")).unwrap();
        fs::rename(folder.path().join("next"), folder.config()).unwrap();
    };
    // A link to a link: the folder of the file itself is not that of the link's target.
    std::os::unix::fs::symlink(real("one"), folder.path().join("two/link")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("two/link"), folder.config()).unwrap();
    let server = Server::start(&folder);
    let change = |name: &str, word: &str| {
        let said = server.said();
        fs::write(real(name), format!("{text}# {word}\n")).unwrap();
        server.wait_for_more(&said, RELOADED);
    };
    change("one", "first");
    let said = server.said();
    fs::write(real("two"), format!("{text}# second\n")).unwrap();
    lead_to("two");
    server.wait_for_more(&said, RELOADED);
    change("two", "third");
}

#[test]
fn max_in_flight_counts_on_over_a_reload() {
    let folder = Folder::new();
    let text = config(&format!("{SLOW}{COUNT}")).replace("[admin]", "max-in-flight = 1\n[admin]");
    folder.write(&text);
    let server = Server::start(&folder);
    let address = server.address;
    let running = std::thread::spawn(move || call(address, "slow", &json!({ "n": 3_000_000 })));
    pause();
    pause();
    let said = server.said();
    folder.write(&format!("{text}# another\n"));
    server.wait_for_more(&said, RELOADED);
    assert!(!running.is_finished(), "the call was to last longer than a reload");
    let answer = server.call("count_customers", &json!({}));
    assert_eq!(answer["error"]["code"], 503, "{answer}");
    assert!(running.join().unwrap()["result"].is_object());
    assert!(server.call("count_customers", &json!({}))["result"].is_object());
}

#[test]
fn what_cannot_change_while_it_runs_is_named_and_stays() {
    let folder = Folder::new();
    let text = config(COUNT);
    folder.write(&text);
    let server = Server::start(&folder);
    folder.write(
        &text
            .replace("name = \"test\"", "name = \"renamed\"\nmax-body = \"1KB\"")
            .replace(&server.address.to_string(), "127.0.0.1:1"),
    );
    let said = server.wait_for_more("", RELOADED);
    assert!(said.contains("[server] listen, [server] max-body changed; the old value stays"), "{said}");
    assert!(server.call("count_customers", &json!({}))["result"]["_meta"].to_string().contains("renamed"));
}

#[test]
fn a_change_is_seen_within_a_second() {
    let folder = Folder::new();
    let text = config(COUNT);
    folder.write(&text);
    let server = Server::start(&folder);
    let mut slowest = Duration::ZERO;
    for round in 0..5 {
        let before = server.said();
        let started = Instant::now();
        folder.write(&format!("{text}# {round}\n"));
        server.wait_for_more(&before, RELOADED);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < within(Duration::from_secs(2)), "{slowest:?}");
}

#[test]
fn full_schemas_are_sent_when_asked_for_also_after_a_reload() {
    let folder = Folder::new();
    let tool = COUNT.replace("customers\"\n", "customers where 1 = :n\"\n");
    let text = config(&format!("{tool}params.n = {{ type = \"integer\", enum = [1, 2] }}\n"));
    folder.write(&text);
    let server = Server::start(&folder);
    let schema = || {
        let answer = ask(server.address, "tools/list", None, json!({}));
        answer["result"]["tools"][0]["inputSchema"]["properties"]["n"].clone()
    };
    let portable = schema();
    assert_eq!(portable["enum"], json!(null), "{portable}");
    let said = server.said();
    folder.write(&text.replace("[admin]", "schema = \"full\"\n[admin]"));
    server.wait_for_more(&said, RELOADED);
    assert_eq!(schema()["enum"], json!([1, 2]));
}
