//! What people read when their file is wrong, and what a right file comes to.

use std::path::Path;

use super::*;

fn load_with(text: &str, edge: Edge) -> Loaded {
    let variable = |name: &str| match name {
        "SECRET" => Some("hunter2-hunter2".into()),
        "NUMBER" => Some("not-a-number".into()),
        _ => None,
    };
    load_text(Path::new("trunkline.toml"), text, edge, &variable)
}

/// Returns what is printed for the file; nothing when it is right.
fn told(text: &str) -> String {
    let loaded = load_with(text, Edge::Http(None));
    render(&loaded.problems, &loaded.document, Style::Plain)
}

const SHOP: &str = "[connectors.shop]\ntype = \"sqlite\"\npath = \"shop.db\"\n";

#[test]
fn an_unknown_key_is_shown_with_the_nearest_known_one() {
    insta::assert_snapshot!(told("[server]\nlisen = \"127.0.0.1:3000\"\n"));
}

#[test]
fn every_problem_of_a_table_is_told() {
    insta::assert_snapshot!(told(
        r#"
[server]
max-in-flight = 0
deadline = "5 parsecs"
max_body = "4MiB"
zzz = 1

[log]
level = "loud"
format = true

[logs]
"#
    ));
}

#[test]
fn a_typo_in_a_parameter_is_shown_in_place() {
    insta::assert_snapshot!(told(&format!(
        "{SHOP}[tools.find]\nconnector = \"shop\"\nsql = \"select :name as name\"\nparams.name = {{ type = \"string\", min_length = 1 }}\n"
    )));
}

#[test]
fn a_statement_with_numbered_parameters_is_marked_inside_the_sql() {
    insta::assert_snapshot!(told(&format!(
        "{SHOP}[tools.find]\nconnector = \"shop\"\nsql = \"\"\"\nselect id\nfrom customers\nwhere id = $1\n\"\"\"\n"
    )));
}

#[test]
fn a_tool_of_an_unknown_connector() {
    insta::assert_snapshot!(told(&format!(
        "{SHOP}[tools.find]\nconnector = \"shp\"\nsql = \"select 1 as one\"\n"
    )));
}

#[test]
fn what_comes_later_is_refused_by_name() {
    insta::assert_snapshot!(told(
        r#"
[auth.keys]
store = "./keys.db"

[limits]
caller = "100/min"

[roles.support]
allow = ["tools:*"]
limit = "10/min"

[connectors.docs]
type = "files"
root = "./docs"

[connectors.shop]
type = "sqlite"
path = "shop.db"
limit = "10/min"

[tools.find]
connector = "shop"
sql = "select 1 as one"
cache = { ttl = "5m" }
"#
    ));
}

#[test]
fn an_address_that_others_can_reach_needs_auth() {
    insta::assert_snapshot!(told(
        "[server]\nlisten = \"0.0.0.0:3000\"\nurl = \"https://mcp.example.com/mcp\"\n"
    ));
    let text = "[server]\nlisten = \"0.0.0.0:3000\"\nurl = \"https://mcp.example.com/mcp\"\n";
    assert_eq!(load_with(text, Edge::Stdio).problems, []);
}

#[test]
fn an_open_admin_listener_needs_a_token() {
    insta::assert_snapshot!(told("[admin]\nlisten = \"0.0.0.0:9464\"\n"));
    assert_eq!(told("[admin]\nlisten = \"0.0.0.0:9464\"\ntoken = \"${SECRET}\"\n"), "");
}

#[test]
fn connectors_have_plain_names_and_known_types() {
    insta::assert_snapshot!(told(
        "[connectors.My-Shop]\ntype = \"sqlite\"\npath = \"a.db\"\n[connectors.b]\ntype = \"postgre\"\n[connectors.c]\npath = \"c.db\"\n"
    ));
}

#[test]
fn text_that_is_no_toml() {
    insta::assert_snapshot!(told("[server]\nname = \"half\n\n[connectors.shop\n"));
    insta::assert_snapshot!(told(""));
}

#[test]
fn references_are_shown_and_their_values_are_not() {
    let text = "[server]\nname = \"${UNSET}\"\ndeadline = \"${SECRET}\"\nmax-body = \"${NUMBER}\"\nseal-keys = [\"${SECRET}\"]\n";
    let told = told(text);
    assert!(!told.contains("hunter2") && !told.contains("not-a-number"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn literal_secrets_are_not_shown() {
    let told = told(
        "[connectors.shop]\ntype = \"postgres\"\nurl = \"postgres://u:letmein@h/db\" # x\n\n[admin]\ntoken = \"letmein\"\nlisten = \"nowhere\"\n",
    );
    assert!(!told.contains("letmein"), "{told}");
    let broken = "[connectors.shop]\nurl = \"postgres://u:letmein@h/db\"\ntype = postgres\n";
    let loaded = load_with(broken, Edge::Stdio);
    let told = render(&loaded.problems, &loaded.document, Style::Plain);
    assert!(!loaded.problems.is_empty() && !told.contains("letmein"), "{told}");
}

#[test]
fn literal_secrets_are_not_shown_where_the_key_is_wrong_or_the_file_is_no_toml() {
    for text in [
        "[connectors.shop]\ntype = \"postgres\"\nurl = \"postgres://u@h/db\"\nurl = \"postgres://u:letmein@h/db\"\n",
        "[connectors.shop]\ntype = \"postgres\"\nurll = \"postgres://u:letmein@h/db\"\n",
        "[connectors.shop]\nurl = \"postgres://u:letmein@h/db\n",
        "[admin]\ntoken = [\"letmein\"]\n",
        "[admin]\ntokn = \"letmein\"\n",
        "[admin]\ntoken = \"letmein\"\ntoken = 'letmein'\n",
        "[server]\nseal-keys = \"letmein\"\n",
    ] {
        let told = told(text);
        assert!(told.contains("trunkline.toml:") && !told.contains("letmein"), "{told}");
    }
}

#[test]
fn what_follows_from_an_unset_variable_is_not_told_besides() {
    for text in [
        "[connectors.shop]\ntype = \"postgres\"\nurl = \"${UNSET}\"\n",
        "[connectors.shop]\ntype = \"sqlite\"\npath = \"${UNSET}\"\n",
        "[server]\nname = \"${UNSET}\"\nallowed-hosts = [\"${UNSET}\"]\n",
    ] {
        let loaded = load_with(text, Edge::Stdio);
        let others: Vec<_> =
            loaded.problems.iter().filter(|problem| !problem.message.contains("`${UNSET}`")).collect();
        assert!(others.is_empty() && !loaded.problems.is_empty(), "{others:?}");
    }
}

#[test]
fn a_bad_name_of_a_tool_is_told_once() {
    let told = told(
        "[connectors.shop]\ntype = \"sqlite\"\npath = \"a.db\"\n[tools.\"a b\"]\nconnector = \"shop\"\nsql = \"select 1 as x\"\n",
    );
    assert_eq!(told.matches("error:").count(), 1, "{told}");
}

#[test]
fn the_default_of_a_secret_parameter_is_not_shown() {
    let told = told(
        "[connectors.shop]\ntype = \"sqlite\"\npath = \"a.db\"\n[tools.a]\nconnector = \"shop\"\nsql = \"select :key as k\"\n\
         params.key = { type = \"string\", default = \"letmein\", secret = true, titel = 1 }\n\
         params.pin = { type = \"integer\", enum = [4711, 4712], secret = true }\n",
    );
    assert!(told.contains("params.key") && !told.contains("letmein") && !told.contains("4711"), "{told}");
}

#[test]
fn ci_03_sql_and_expressions_are_not_touched_and_structure_cannot_change() {
    let text = "[connectors.shop]\ntype = \"sqlite\"\npath = \"${A}\"\n[tools.find]\nconnector = \"shop\"\nsql = \"select '${A}' as a\"\n";
    let variable = |name: &str| (name == "A").then(|| "x\"\n[server]\nlisten = \"0.0.0.0:1".into());
    let loaded = load_text(Path::new("trunkline.toml"), text, Edge::Http(None), &variable);
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.config.server, Server::default());
    assert!(loaded.config.connectors[0].tools[0].source().sql.contains("'${A}'"));
}

#[test]
fn ci_03_a_password_from_a_variable_is_not_expanded_again() {
    let text = "[connectors.shop]\ntype = \"postgres\"\nurl = \"postgres://u:${A}@127.0.0.1/db\"\n";
    let variable = |name: &str| match name {
        "A" => Some("p$w${B}".into()),
        "B" => panic!("a value was expanded again"),
        _ => None,
    };
    assert_eq!(load_text(Path::new("trunkline.toml"), text, Edge::Http(None), &variable).problems, []);
}

#[test]
fn the_reference_file_parses_and_says_the_defaults() {
    let loaded = load_with(include_str!("reference.toml"), Edge::Http(None));
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.config.server, Server::default());
    assert_eq!(loaded.config.admin, Admin::default());
    assert_eq!(loaded.config.log.format, LogFormat::default());
}

#[test]
fn what_lets_nobody_in_or_tokens_out_is_refused() {
    insta::assert_snapshot!(told(
        r#"
[server]
listen = "0.0.0.0:3000"
url = "http://mcp.example.com/mcp"

[auth]
login-scopes = ["read"]

[audit]
sink = "postgres:shop"
key = "not a key"
"#
    ));
}

#[test]
fn mistakes_in_who_may_do_what_are_shown_in_place() {
    insta::assert_snapshot!(told(
        r#"
[auth.jwt.company]
issuer = "http://login.example.com"
leeway = "1h"

[auth.keys]
store = "postgres:shop"

[roles.support]
match = { claim = "groups" }
allow = ["tool:search_*", "tools:*"]
when = "caller.clams.region == 'eu'"
limit = "10/min"

[connectors.shop]
type = "sqlite"
path = "shop.db"

[tools.find]
connector = "shop"
sql = "select 1 as one"
scopes = ["has space"]
"#
    ));
}

#[test]
fn an_audit_on_the_standard_output_is_not_for_stdio() {
    let text = format!("[audit]\nsink = \"stdout\"\nkey = \"{}\"\n", "ab".repeat(32));
    assert_eq!(load_with(&text, Edge::Http(None)).problems, []);
    let problems = load_with(&text, Edge::Stdio).problems;
    assert_eq!(problems.iter().map(|problem| &*problem.key).collect::<Vec<_>>(), ["audit.sink"]);
}

#[test]
fn keys_of_the_record_and_secrets_of_clients_are_not_shown() {
    let key = "cd".repeat(32);
    let text = format!(
        "[audit]\nsnk = \"stdout\"\nkey = \"{key}\"\n[auth.introspection.a]\nurl = 5\nclient-secret = \"hidden-secret\"\n"
    );
    let shown = told(&text);
    assert!(!shown.contains(&key) && !shown.contains("hidden-secret"), "{shown}");
}

#[test]
fn the_reference_file_names_every_key() {
    let schema = schema::of_the_file();
    let text = include_str!("reference.toml");
    let sections = [
        "ServerFile",
        "LogFile",
        "AdminFile",
        "JwtFile",
        "IntrospectionFile",
        "KeysFile",
        "RoleFile",
        "LimitsFile",
        "StoreFile",
        "AuditFile",
    ];
    for section in sections {
        for key in schema["$defs"][section]["properties"].as_object().unwrap().keys() {
            let written = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} = "));
            assert!(text.lines().any(written), "{section} {key}");
        }
    }
}

#[test]
fn connectors_and_tools_keep_the_order_of_the_file() {
    let text = "[connectors.b]\ntype = \"sqlite\"\npath = \"b.db\"\n[connectors.a]\ntype = \"sqlite\"\npath = \"a.db\"\n\
        [tools.z]\nconnector = \"a\"\nsql = \"select 1 as x\"\n[tools.y]\nconnector = \"b\"\nsql = \"select 1 as x\"\n[tools.a]\nconnector = \"a\"\nsql = \"select 1 as x\"\n";
    let loaded = load_with(text, Edge::Http(None));
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.config.tools, ["z", "y", "a"]);
    let names: Vec<_> = loaded
        .config
        .connectors
        .iter()
        .map(|connector| (connector.name.as_str(), connector.tools.len()))
        .collect();
    assert_eq!(names, [("b", 1), ("a", 2)]);
}

#[test]
fn both_files_of_the_shop_are_right() {
    for text in [
        include_str!("../../../../examples/shop/trunkline.toml"),
        &include_str!("../../../../examples/shop/trunkline.postgres.toml")
            .replace("${DATABASE_URL}", "postgres://u@127.0.0.1/shop"),
    ] {
        assert_eq!(told(text), "");
    }
}

#[test]
fn a_warning_is_called_one_and_has_its_place() {
    let text = format!("{SHOP}\n[tools.a]\nconnector = \"shop\"\nsql = \"select 1\"\n");
    let loaded = load_with(&text, Edge::Http(None));
    let wrong = trunkline_sql::Problem::new(&["tools", "a", "sql"], "no such column: b").at(7);
    let warned = trunkline_sql::Problem::new(&["connectors", "shop", "path"], "anyone may write to the file")
        .help("let only its owner write: `chmod go-w shop.db`")
        .warning();
    let problems = [wrong, warned].map(|problem| Diagnostic::from_problem(problem, &loaded.document));
    insta::assert_snapshot!(render(&problems, &loaded.document, Style::Plain));
    let coloured = render(&problems[1..], &loaded.document, Style::Terminal(100));
    assert!(coloured.starts_with("\u{1b}[1m\u{1b}[33mwarning"), "yellow: {coloured:?}");
}

/// Wherever the mark stands it is under the word, whatever comes before it on the line.
#[test]
fn the_mark_is_under_the_word_whatever_stands_before_it() {
    for (text, ends) in [
        ("sql = \"\"\"\r\nselect id,\r\n\t\tnmae\r\nfrom customers\"\"\"\r\n", "\r\n"),
        ("sql = \"\"\"\nselect id,\n\t\tnmae\nfrom customers\"\"\"\n", "\n"),
        ("sql = \"select '表表 größe 🦀 e\u{301}', nmae\"\n", "\n"),
        ("sql = \"select 'a\\tb\\u00e9', nmae\"\n", "\n"),
    ] {
        let text = format!("[tools.a]{ends}{text}");
        let loaded = load_with(&text, Edge::Http(None));
        let table: toml::Table = toml::from_str(&text).unwrap();
        let sql = table["tools"]["a"]["sql"].as_str().unwrap();
        let problem = trunkline_sql::Problem::new(&["tools", "a", "sql"], "no such column: nmae");
        let problem = problem.at(sql.find("nmae").unwrap());
        let told =
            render(&[Diagnostic::from_problem(problem, &loaded.document)], &loaded.document, Style::Plain);
        let lines: Vec<&str> = told.lines().collect();
        let at = lines
            .iter()
            .position(|line| line.contains("^^^^ in `tools.a.sql`"))
            .unwrap_or_else(|| panic!("{told}"));
        let (line, mark) = (lines[at - 1], lines[at]);
        let width = |text: &str| {
            text.chars()
                .map(|c| match c {
                    '表' | '🦀' => 2,
                    '\u{301}' => 0,
                    _ => 1,
                })
                .sum::<usize>()
        };
        let (before, _) = line.split_once("nmae").unwrap_or_else(|| panic!("{told}"));
        assert_eq!(width(before), mark.find('^').unwrap(), "{told}");
        assert!(!mark.contains("^^^^^"), "{told}");
    }
}
