//! Skills from outside: folders as people and attackers lay them out, and what the built server answers about them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use trunkline_protocol::{Method, Revision, scan};
use trunkline_server::sdk::skills::{Skills, SkillsChange, SkillsError};
use trunkline_server::sdk::{BuiltServer, Server};
use trunkline_service::shared::Followed;
use trunkline_service::{CacheScope, Caller, Change, Request, Service};

const SKILL: &str = "---\nname: NAME\ndescription: Does NAME things.\n---\n# NAME\n";

/// A folder with files of that text; one that ends in a slash is a folder.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (path, bytes) in files {
        put(folder.path(), path, bytes);
    }
    folder
}

fn put(folder: &Path, path: &str, bytes: &[u8]) {
    let place = folder.join(path);
    if path.ends_with('/') {
        return fs::create_dir_all(place).unwrap();
    }
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, bytes).unwrap();
}

fn skill(name: &str) -> Vec<u8> {
    SKILL.replace("NAME", name).into_bytes()
}

/// The problems of a folder, each as text.
fn problems(folder: &Path) -> Vec<String> {
    let error = Skills::from_folder(folder).expect_err("a problem");
    assert!(
        error.to_string().starts_with(&format!("the skills in `{}` cannot be served:", folder.display()))
    );
    error.problems().iter().map(ToString::to_string).collect()
}

/// A built server, asked as a client of 2026-07-28 that declares nothing.
struct Asked(Arc<dyn Service>);

impl Asked {
    fn of(skills: Skills) -> Self {
        Self(Server::new("skilled", "1.0.0").skills(skills).into_service().unwrap())
    }

    async fn outcome(&self, method: &str, params: Value) -> Result<Value, (i32, String, Value)> {
        self.outcome_in(Revision::LATEST, method, params).await
    }

    async fn outcome_in(
        &self,
        revision: Revision,
        method: &str,
        mut params: Value,
    ) -> Result<Value, (i32, String, Value)> {
        params["_meta"] = json!({ "io.modelcontextprotocol/clientCapabilities": {} });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = Bytes::from(body.to_string());
        let (_, envelope) = scan(&body).unwrap();
        let method = Method::parse(method.as_bytes());
        let request = Request::new(body, &envelope, method, revision, Caller::local(), 1);
        match self.0.call(request).await {
            Ok(reply) => {
                let mut out = Vec::new();
                reply.write(&mut out, b"1", revision, b"");
                let message: Value = serde_json::from_slice(&out).unwrap();
                Ok(message["result"].clone())
            }
            Err(failure) => {
                let data = failure.data().map_or(Value::Null, |data| serde_json::from_slice(data).unwrap());
                Err((failure.kind().row().code.0, failure.public().to_owned(), data))
            }
        }
    }

    async fn ok(&self, method: &str, params: Value) -> Value {
        self.outcome(method, params).await.unwrap()
    }

    async fn refused(&self, method: &str, params: Value) -> String {
        let (code, text, _) = self.outcome(method, params).await.unwrap_err();
        assert_eq!(code, -32602, "{text}");
        text
    }

    /// The names of what is in a directory.
    async fn directory(&self, uri: &str) -> Vec<String> {
        let result = self.ok("resources/directory/read", json!({ "uri": uri })).await;
        result["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn digest_of(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

// --------------------------------------------------------------------------------------------------------------- Serving

const REFUNDS: &[u8] = b"---\nname: refunds\ndescription: Pays back.\nlicense: MIT\nmetadata:\n  level: '3'\nratio: 0.5\non: [true, ~, 'x']\n---\n# Refunds\n";

fn two_skills() -> TempDir {
    folder(&[
        ("README.md", b"not of a skill"),
        ("acme/notes.txt", b"not of a skill either"),
        ("acme/billing/refunds/SKILL.md", REFUNDS),
        ("acme/billing/refunds/examples/email.md", b"Hello"),
        ("pdf/SKILL.md", &skill("pdf")),
        ("pdf/assets/logo.png", b"\x89PNG\r\n\x1a\n\0"),
        ("pdf/scripts/fill.py", b"print('\xc3\xa4')\n"),
        ("pdf/scripts/deep/", b""),
        ("pdf/.git/config", b"secret"),
        ("pdf/.env", b"secret"),
    ])
}

#[tokio::test]
async fn an_entry_holds_the_frontmatter_and_every_file_with_digest_and_size() {
    let folder = two_skills();
    let asked = Asked::of(Skills::from_folder(folder.path()).unwrap());
    let result = asked.ok("skills/list", json!({})).await;
    let logo: &[u8] = b"\x89PNG\r\n\x1a\n\0";
    let file =
        |uri: &str, bytes: &[u8]| json!({ "uri": uri, "digest": digest_of(bytes), "size": bytes.len() });
    let refunds = json!({
        "uri": "skill://acme/billing/refunds/SKILL.md",
        "frontmatter": {
            "name": "refunds", "description": "Pays back.", "license": "MIT",
            "metadata": { "level": "3" }, "ratio": 0.5, "on": [true, null, "x"]
        },
        "resources": [
            file("skill://acme/billing/refunds/SKILL.md", REFUNDS),
            file("skill://acme/billing/refunds/examples/email.md", b"Hello"),
        ]
    });
    let pdf = json!({
        "uri": "skill://pdf/SKILL.md",
        "frontmatter": { "name": "pdf", "description": "Does pdf things." },
        "resources": [
            file("skill://pdf/SKILL.md", &skill("pdf")),
            file("skill://pdf/assets/logo.png", logo),
            file("skill://pdf/scripts/fill.py", b"print('\xc3\xa4')\n"),
        ]
    });
    assert_eq!(
        result,
        json!({ "resultType": "complete", "skills": [refunds, pdf], "ttlMs": 60000, "cacheScope": "public" })
    );
    let got = asked.ok("skills/get", json!({ "uri": "skill://pdf/SKILL.md" })).await;
    assert_eq!(
        got,
        json!({ "resultType": "complete", "skill": pdf, "ttlMs": 60000, "cacheScope": "public" })
    );
}

#[tokio::test]
async fn what_is_read_is_what_the_entry_promised() {
    let folder = folder(&[
        ("a/SKILL.md", "\u{feff}---\r\nname: a\r\ndescription: x\r\n---\r\n# A \u{2028}\r\n".as_bytes()),
        ("a/latin.txt", b"caf\xe9"),
        ("a/utf16.md", b"\xff\xfe#\0"),
        ("a/empty", b""),
        ("a/with space & 100%/\u{fc}ber.json", b"{\"a\": \"\\u0000\"}"),
        ("a/data.bin", &[0, 1, 2, 255]),
    ]);
    let asked = Asked::of(Skills::from_folder(folder.path()).unwrap());
    let entry = asked.ok("skills/get", json!({ "uri": "skill://a/SKILL.md" })).await;
    let resources = entry["skill"]["resources"].as_array().unwrap().clone();
    assert_eq!(resources.len(), 6);
    let mut seen = Vec::new();
    for promised in resources {
        let uri = promised["uri"].as_str().unwrap();
        let result = asked.ok("resources/read", json!({ "uri": uri })).await;
        let [contents] = &**result["contents"].as_array().unwrap() else { panic!("{result}") };
        let bytes = match (contents["text"].as_str(), contents["blob"].as_str()) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(blob)) => STANDARD.decode(blob).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(contents["uri"], uri);
        assert_eq!(promised["digest"], digest_of(&bytes), "{uri}");
        assert_eq!(promised["size"], bytes.len(), "{uri}");
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(60000), &json!("public")));
        let kind = if contents["text"].is_string() { "text" } else { "blob" };
        seen.push(format!("{uri} {} {kind}", contents["mimeType"].as_str().unwrap()));
    }
    seen.sort();
    assert_eq!(
        seen,
        [
            "skill://a/SKILL.md text/markdown text",
            "skill://a/data.bin application/octet-stream blob",
            "skill://a/empty text/plain text",
            "skill://a/latin.txt text/plain blob",
            "skill://a/utf16.md text/markdown blob",
            "skill://a/with%20space%20&%20100%25/%C3%BCber.json application/json text",
        ]
    );
}

#[tokio::test]
async fn resources_list_the_skills_and_a_template_the_rest() {
    let folder = two_skills();
    let asked = Asked::of(Skills::from_folder(folder.path()).unwrap());
    let listed = asked.ok("resources/list", json!({})).await;
    assert_eq!(
        listed["resources"],
        json!([
            {
                "uri": "skill://acme/billing/refunds/SKILL.md", "name": "refunds", "description": "Pays back.",
                "mimeType": "text/markdown", "size": REFUNDS.len()
            },
            {
                "uri": "skill://pdf/SKILL.md", "name": "pdf", "description": "Does pdf things.",
                "mimeType": "text/markdown", "size": skill("pdf").len()
            },
        ])
    );
    let templates = asked.ok("resources/templates/list", json!({})).await;
    assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "skill://{+path}");
    let discovered = asked.ok("server/discover", json!({})).await;
    let capabilities = &discovered["capabilities"];
    assert_eq!(
        capabilities["extensions"],
        json!({ "io.modelcontextprotocol/skills": { "directoryRead": true } })
    );
    assert_eq!(capabilities["resources"], json!({ "subscribe": true, "listChanged": true }));
}

#[tokio::test]
async fn directories_are_read_level_by_level_from_the_prefix_down() {
    let folder = two_skills();
    let asked = Asked::of(Skills::from_folder(folder.path()).unwrap());
    assert_eq!(asked.directory("skill://acme").await, ["billing"], "what is not of a skill is not served");
    assert_eq!(asked.directory("skill://acme/billing").await, ["refunds"]);
    assert_eq!(asked.directory("skill://acme/billing/refunds").await, ["refunds", "examples"]);
    assert_eq!(asked.directory("skill://pdf/scripts/deep").await, Vec::<String>::new());
    let result = asked.ok("resources/directory/read", json!({ "uri": "skill://pdf" })).await;
    assert_eq!(
        result,
        json!({
            "resultType": "complete",
            "resources": [
                {
                    "uri": "skill://pdf/SKILL.md", "name": "pdf", "description": "Does pdf things.",
                    "mimeType": "text/markdown", "size": skill("pdf").len()
                },
                { "uri": "skill://pdf/assets", "name": "assets", "mimeType": "inode/directory" },
                { "uri": "skill://pdf/scripts", "name": "scripts", "mimeType": "inode/directory" },
            ],
            "ttlMs": 60000, "cacheScope": "public"
        })
    );
    let text = asked.refused("resources/directory/read", json!({ "uri": "skill://pdf/SKILL.md" })).await;
    assert_eq!(text, "`skill://pdf/SKILL.md` is a file, not a directory; read it with `resources/read`");
    for uri in [
        "skill://pdf/",
        "skill://",
        "skill://nobody",
        "skill://pdf/.git",
        "skill://pdf/../pdf",
        "file:///etc",
        "",
    ] {
        asked.refused("resources/directory/read", json!({ "uri": uri })).await;
    }
    asked.refused("resources/directory/read", json!({})).await;
    asked.refused("resources/directory/read", json!({ "uri": 7 })).await;
}

#[tokio::test]
async fn what_is_not_there_is_invalid_params() {
    let folder = two_skills();
    let asked = Asked::of(Skills::from_folder(folder.path()).unwrap());
    let text = asked.refused("skills/get", json!({ "uri": "skill://nobody/SKILL.md" })).await;
    assert!(text.starts_with("no skill is served at `skill://nobody/SKILL.md`"), "{text}");
    for uri in ["skill://pdf", "skill://pdf/scripts/fill.py", "skill://acme/notes.txt"] {
        asked.refused("skills/get", json!({ "uri": uri })).await;
    }
    asked.refused("skills/get", json!({})).await;
    asked.refused("skills/list", json!({ "cursor": 7 })).await;
    asked.refused("skills/list", json!({ "cursor": "made up" })).await;
    let hidden = [
        "skill://pdf",
        "skill://pdf/.env",
        "skill://pdf/.git/config",
        "skill://README.md",
        "skill://acme/notes.txt",
        "skill://pdf/../acme/notes.txt",
        "skill://pdf/%2e%2e/acme/notes.txt",
        "skill://pdf/scripts/../SKILL.md",
        "skill:///etc/passwd",
    ];
    for uri in hidden {
        let (code, _, data) = asked.outcome("resources/read", json!({ "uri": uri })).await.unwrap_err();
        assert_eq!((code, data), (-32602, json!({ "uri": uri })));
    }
}

#[tokio::test]
async fn older_revisions_read_skills_as_resources_and_know_no_extension() {
    let folder = two_skills();
    let asked = Asked::of(Skills::from_folder(folder.path()).unwrap());
    for revision in [Revision::V2025_03_26, Revision::V2025_06_18, Revision::V2025_11_25] {
        let read = asked
            .outcome_in(revision, "resources/read", json!({ "uri": "skill://pdf/scripts/fill.py" }))
            .await;
        assert_eq!(read.unwrap()["contents"][0]["text"], "print('\u{e4}')\n");
        for method in ["skills/list", "skills/get", "resources/directory/read"] {
            let (code, ..) =
                asked.outcome_in(revision, method, json!({ "uri": "skill://pdf" })).await.unwrap_err();
            assert_eq!(code, -32601);
        }
    }
}

#[tokio::test]
async fn lists_are_paged_and_every_skill_is_on_one_page() {
    let folder = TempDir::new().unwrap();
    for number in 0..7 {
        put(folder.path(), &format!("s{number}/SKILL.md"), &skill(&format!("s{number}")));
        put(folder.path(), &format!("s0/part{number}.md"), b"x");
    }
    let asked = Asked::of(Skills::from_folder(folder.path()).unwrap().page_size(3));
    let sizes = async |method: &str, key: &str, uri: Option<&str>| {
        let (mut sizes, mut cursor, mut uris) = (Vec::new(), Value::Null, std::collections::BTreeSet::new());
        loop {
            let mut params = json!({ "cursor": cursor });
            if let Some(uri) = uri {
                params["uri"] = uri.into();
            }
            let result = asked.ok(method, params).await;
            let page = result[key].as_array().unwrap();
            sizes.push(page.len());
            assert!(page.iter().all(|one| uris.insert(one["uri"].as_str().unwrap().to_owned())), "once each");
            match result.get("nextCursor") {
                Some(next) => cursor = next.clone(),
                None => return (sizes, cursor),
            }
        }
    };
    let (skills, last) = sizes("skills/list", "skills", None).await;
    assert_eq!(skills, [3, 3, 1]);
    assert_eq!(sizes("resources/directory/read", "resources", Some("skill://s0")).await.0, [3, 3, 2]);
    asked.refused("resources/directory/read", json!({ "uri": "skill://s0", "cursor": last })).await;
}

#[tokio::test]
async fn a_skill_within_a_skill_is_one_of_its_own_and_part_of_the_other() {
    let folder = folder(&[
        ("outer/SKILL.md", &skill("outer")),
        ("outer/inner/SKILL.md", &skill("inner")),
        ("outer/inner/more.md", b"x"),
    ]);
    let asked = Asked::of(Skills::from_folder(folder.path()).unwrap());
    let result = asked.ok("skills/list", json!({})).await;
    let uris = |number: usize| -> Vec<&str> {
        let resources = result["skills"][number]["resources"].as_array().unwrap();
        resources.iter().map(|one| one["uri"].as_str().unwrap()).collect()
    };
    assert_eq!(
        uris(0),
        ["skill://outer/inner/SKILL.md", "skill://outer/inner/more.md", "skill://outer/SKILL.md"]
            .map(str::to_owned)
            .iter()
            .map(String::as_str)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(result["skills"][0]["frontmatter"]["name"], "outer");
    assert_eq!(result["skills"][1]["frontmatter"]["name"], "inner");
    assert_eq!(uris(1), ["skill://outer/inner/SKILL.md", "skill://outer/inner/more.md"]);
}

#[tokio::test]
async fn cache_hints_are_what_the_server_says() {
    let folder = two_skills();
    let skills =
        Skills::from_folder(folder.path()).unwrap().cache(Duration::from_secs(5), CacheScope::Private);
    let asked = Asked::of(skills);
    let uri = json!({ "uri": "skill://pdf/SKILL.md" });
    let directory = json!({ "uri": "skill://pdf" });
    let requests = [
        ("skills/list", json!({})),
        ("skills/get", uri.clone()),
        ("resources/read", uri),
        ("resources/directory/read", directory),
    ];
    for (method, params) in requests {
        let result = asked.ok(method, params).await;
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(5000), &json!("private")), "{method}");
    }
}

// ---------------------------------------------------------------------------------------------------------------- Reload

#[tokio::test]
async fn a_reload_serves_what_is_there_now_and_says_what_changed() {
    let folder = two_skills();
    let skills = Skills::from_folder(folder.path()).unwrap();
    let server: BuiltServer = Server::new("skilled", "1.0.0").skills(skills.clone()).build().unwrap();
    let handle = server.handle();
    let mut told = server.live().shared().changes(None);
    let asked = Asked(server.into_service());
    assert!(handle.reload_skills(&skills).await.unwrap().is_empty());
    put(folder.path(), "new/SKILL.md", &skill("new"));
    put(folder.path(), "pdf/scripts/fill.py", b"print(2)\n");
    fs::remove_dir_all(folder.path().join("acme")).unwrap();
    let before = asked.ok("resources/list", json!({})).await;
    let change = handle.reload_skills(&skills).await.unwrap();
    assert_eq!(
        change,
        SkillsChange {
            added: vec!["skill://new/SKILL.md".into()],
            removed: vec!["skill://acme/billing/refunds/SKILL.md".into()],
            changed: vec!["skill://pdf/SKILL.md".into()],
            files: vec![
                "skill://acme/billing/refunds/SKILL.md".into(),
                "skill://acme/billing/refunds/examples/email.md".into(),
                "skill://new/SKILL.md".into(),
                "skill://pdf/scripts/fill.py".into(),
            ],
        }
    );
    let read = asked.ok("resources/read", json!({ "uri": "skill://pdf/scripts/fill.py" })).await;
    assert_eq!(read["contents"][0]["text"], "print(2)\n");
    asked.refused("skills/get", json!({ "uri": "skill://acme/billing/refunds/SKILL.md" })).await;
    let after = asked.ok("resources/list", json!({})).await;
    assert_ne!(before["resources"], after["resources"], "the list is made anew");
    let uris: Vec<&str> =
        after["resources"].as_array().unwrap().iter().map(|one| one["uri"].as_str().unwrap()).collect();
    assert_eq!(uris, ["skill://new/SKILL.md", "skill://pdf/SKILL.md"]);
    put(folder.path(), "pdf/scripts/fill.py", b"print(3)\n");
    handle.reload_skills(&skills).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 7 {
        let next = tokio::time::timeout(Duration::from_secs(5), told.next()).await.unwrap();
        let Followed::Message(_, message) = next else { panic!("{next:?}") };
        heard.push(Change::from_bytes(&message).unwrap());
    }
    let files = change.files.iter().map(|uri| Change::Resource(uri.as_str().into()));
    let mut expected: Vec<Change> = std::iter::once(Change::Resources).chain(files).collect();
    expected.extend([Change::Resources, Change::Resource("skill://pdf/scripts/fill.py".into())]);
    assert_eq!(heard, expected, "nothing for the reading without a change");
}

#[tokio::test]
async fn a_reload_of_a_broken_folder_leaves_everything_as_it_was() {
    let folder = two_skills();
    let skills = Skills::from_folder(folder.path()).unwrap();
    let asked = Asked::of(skills.clone());
    let before = asked.ok("skills/list", json!({})).await;
    put(folder.path(), "pdf/SKILL.md", b"no frontmatter");
    assert!(skills.reload().is_err());
    assert_eq!(asked.ok("skills/list", json!({})).await, before);
    let read = asked.ok("resources/read", json!({ "uri": "skill://pdf/SKILL.md" })).await;
    assert_eq!(
        read["contents"][0]["text"].as_str().unwrap().as_bytes(),
        skill("pdf"),
        "as it was read, not as it is"
    );
}

#[tokio::test]
async fn a_cursor_from_before_a_change_is_refused() {
    let folder = folder(&[("a/SKILL.md", &skill("a")), ("b/SKILL.md", &skill("b"))]);
    let skills = Skills::from_folder(folder.path()).unwrap().page_size(1);
    let asked = Asked::of(skills.clone());
    let cursor = asked.ok("skills/list", json!({})).await["nextCursor"].clone();
    asked.ok("skills/list", json!({ "cursor": cursor })).await;
    put(folder.path(), "a/more.md", b"x");
    skills.reload().unwrap();
    asked.refused("skills/list", json!({ "cursor": cursor })).await;
}

#[test]
fn a_folder_that_is_not_served_keeps_the_server_from_being_built() {
    let folder = folder(&[("a/SKILL.md", b"nothing")]);
    let error = Server::new("skilled", "1.0.0").skills(folder.path()).build().map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("`a/SKILL.md` has no frontmatter"), "{error}");
}

// --------------------------------------------------------------------------------------------------------------- Refusals

#[test]
fn all_problems_are_told_at_once_with_their_files() {
    let folder = folder(&[
        ("bad-yaml/SKILL.md", b"---\nname: bad-yaml\ndescription: [\n---\n"),
        ("other/SKILL.md", &skill("another")),
        ("Upper/SKILL.md", &skill("Upper")),
        ("latin/SKILL.md", b"---\nname: latin\ndescription: caf\xe9\n---\n"),
        ("plain/SKILL.md", b"# No frontmatter\n"),
        ("number/SKILL.md", b"---\nname: number\ndescription: 7\n---\n"),
        ("lower/skill.md", &skill("lower")),
        ("good/SKILL.md", &skill("good")),
        ("good/a:b.md", b"x"),
        ("good/trailing.", b"x"),
        ("good/tab\tname", b"x"),
    ]);
    let problems = problems(folder.path());
    assert_eq!(
        problems[..2],
        [
            "`Upper/SKILL.md` has the name `Upper`, but a name is 1 to 64 of `a-z`, `0-9` and `-`, with no `-` at either end or beside another",
            // The reason is the parser's own.
            &*problems[1],
        ]
    );
    assert!(
        problems[1].starts_with("`bad-yaml/SKILL.md` has a frontmatter that is not taken, line "),
        "{}",
        problems[1]
    );
    assert_eq!(
        problems[2..],
        [
            "`good/a:b.md` has a name that not every system can have: it holds one of `\\ : * ? \" < > |`; rename it",
            "`good/tab\tname` has a name that not every system can have: it holds a control character; rename it",
            "`good/trailing.` has a name that not every system can have: it ends in a dot or a space; rename it",
            "`latin/SKILL.md` is not UTF-8 text; save it as UTF-8",
            "`lower/skill.md` must be named `SKILL.md`, in these letters",
            "`number/SKILL.md` has a `description` in its frontmatter that is not a text; put it in quotes",
            "`other/SKILL.md` has the name `another` and is in the folder `other`; they must be the same",
            "`plain/SKILL.md` has no frontmatter; its first line must be `---`, then YAML with `name` and `description`, then a line `---`",
        ]
    );
}

#[test]
fn links_are_followed_within_the_folder_and_nowhere_else() {
    let outside = folder(&[("secret.txt", b"secret"), ("dir/secret.txt", b"secret")]);
    let folder =
        folder(&[("a/SKILL.md", &skill("a")), ("shared/text.md", b"shared"), ("shared/more/x.md", b"x")]);
    let link = |target: &Path, name: &str| symlink(target, folder.path().join(name)).unwrap();
    link(Path::new("../shared/text.md"), "a/inside.md");
    link(Path::new("../shared/more"), "a/more");
    let skills = Skills::from_folder(folder.path()).unwrap();
    assert_eq!(skills.uris(), ["skill://a/SKILL.md"]);
    link(&outside.path().join("secret.txt"), "a/absolute.txt");
    let up: PathBuf = std::iter::repeat_n("..", 30).chain(["etc", "passwd"]).collect();
    link(&up, "a/up.txt");
    link(&outside.path().join("dir"), "a/dir");
    link(Path::new("../dir"), "a/nowhere");
    link(Path::new(".."), "a/back");
    link(Path::new("."), "a/self");
    link(Path::new("around"), "a/around");
    let problems = problems(folder.path());
    let out = "is a link that leads out of the folder, or an absolute one; link within the folder, or put a copy there";
    let [absolute, around, rest @ ..] = &*problems else { panic!("{problems:?}") };
    assert_eq!(*absolute, format!("`a/absolute.txt` {out}"));
    assert!(around.starts_with("`a/around` cannot be read: "), "{around}");
    assert_eq!(
        rest,
        [
            "`a/back` is a link to a folder that it is in itself; remove it".to_owned(),
            format!("`a/dir` {out}"),
            "`a/nowhere` is a link to nothing; correct or remove it".to_owned(),
            "`a/self` is a link to a folder that it is in itself; remove it".to_owned(),
            format!("`a/up.txt` {out}"),
        ]
    );
    assert!(!Skills::from_folder(folder.path()).unwrap_err().to_string().contains("secret\n"));
}

#[test]
fn links_around_in_circles_end() {
    let folder = folder(&[("a/SKILL.md", &skill("a")), ("b/x.md", b"x"), ("c/x.md", b"x")]);
    let link = |target: &str, name: &str| symlink(target, folder.path().join(name)).unwrap();
    link("../b", "a/to-b");
    link("../c", "b/to-c");
    link("../b", "c/to-b");
    let problems = problems(folder.path());
    assert_eq!(problems, ["`a/to-b/to-c/to-b` is a link to a folder that it is in itself; remove it"]);
}

#[tokio::test]
async fn mounted_configuration_is_served_through_its_hidden_folders() {
    let folder = folder(&[("notes/..2026_11/SKILL.md", &skill("notes"))]);
    symlink("..2026_11", folder.path().join("notes/..data")).unwrap();
    symlink("..data/SKILL.md", folder.path().join("notes/SKILL.md")).unwrap();
    let asked = Asked::of(Skills::from_folder(folder.path()).unwrap());
    let entry = asked.ok("skills/get", json!({ "uri": "skill://notes/SKILL.md" })).await;
    assert_eq!(entry["skill"]["resources"].as_array().unwrap().len(), 1);
}

#[test]
fn a_skill_has_at_most_512_files_and_16_mib() {
    let folder = folder(&[("many/SKILL.md", &skill("many")), ("huge/SKILL.md", &skill("huge"))]);
    for number in 1..512 {
        put(folder.path(), &format!("many/{}/{number}.md", number % 7), b"x");
    }
    // Holes, so that the test writes nothing.
    let file = fs::File::create(folder.path().join("huge/data.bin")).unwrap();
    let room = 16 * 1024 * 1024 - skill("huge").len() as u64;
    file.set_len(room).unwrap();
    Skills::from_folder(folder.path()).unwrap();
    put(folder.path(), "many/512.md", b"x");
    file.set_len(room + 1).unwrap();
    let huge = "`huge` has files of 16777217 bytes, and hosts take at most 16777216 in a skill; remove some or split the skill";
    assert_eq!(
        problems(folder.path()),
        [huge, "`many` has 513 files, and hosts take at most 512 in a skill; remove some or split the skill"]
    );
    file.set_len(1 << 40).unwrap();
    let problems = problems(folder.path());
    assert!(problems[0].starts_with("`.` holds skills of 10995116"), "{problems:?}");
    assert!(problems[1].starts_with("`huge` has files of 10995116"), "and it is not read: {problems:?}");
}

#[test]
fn a_skill_counts_the_files_of_skills_within_it() {
    let folder = folder(&[("outer/SKILL.md", &skill("outer")), ("outer/inner/SKILL.md", &skill("inner"))]);
    for number in 0..511 {
        put(folder.path(), &format!("outer/inner/{number}.md"), b"x");
    }
    assert_eq!(problems(folder.path()).len(), 1);
    assert!(problems(folder.path())[0].starts_with("`outer` has 513 files"));
}

#[test]
fn names_that_differ_only_in_case_are_refused() {
    let folder = folder(&[
        ("a/SKILL.md", &skill("a")),
        ("a/Guide.md", b"x"),
        ("a/guide.md", b"x"),
        ("a/refs/one.md", b"x"),
        ("a/Refs/two.md", b"x"),
        ("a/\u{c4}.md", b"x"),
        ("a/\u{e4}.md", b"x"),
        ("Team/b/SKILL.md", &skill("b")),
        ("team/c/SKILL.md", &skill("c")),
        ("a/refs/Guide.md", b"in another folder"),
    ]);
    let same = |path: &str, other: &str| {
        format!(
            "`{path}` and `{other}` are the same on systems that do not tell upper from lower case; rename one of them"
        )
    };
    assert_eq!(
        problems(folder.path()),
        [
            same("a/guide.md", "a/Guide.md"),
            same("a/refs", "a/Refs"),
            same("a/\u{e4}.md", "a/\u{c4}.md"),
            same("team", "Team"),
        ]
    );
}

#[test]
fn a_folder_without_skills_or_that_is_one_is_refused_with_what_to_do() {
    let empty = folder(&[("readme.txt", b"x"), (".hidden/SKILL.md", &skill("hidden"))]);
    assert_eq!(problems(empty.path()), ["`.` holds no skill; a skill is a folder in it with a `SKILL.md`"]);
    let itself = folder(&[("SKILL.md", &skill("x"))]);
    assert_eq!(
        problems(itself.path()),
        ["`SKILL.md` lies in the folder itself, but a skill is a folder in it; pass the folder above"]
    );
    let nowhere = empty.path().join("nowhere");
    assert!(problems(&nowhere)[0].starts_with("`.` cannot be read: "), "{:?}", problems(&nowhere));
    assert!(problems(&empty.path().join("readme.txt"))[0].starts_with("`.` cannot be read: "));
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = folder(&[("a/SKILL.md", &skill("a"))]);
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("a/socket")).unwrap();
    let status = std::process::Command::new("mkfifo").arg(folder.path().join("a/pipe")).status().unwrap();
    assert!(status.success());
    assert_eq!(
        problems(folder.path()),
        [
            "`a/pipe` is neither file nor folder; remove it",
            "`a/socket` is neither file nor folder; remove it",
        ]
    );
}

#[test]
fn folders_without_end_are_refused() {
    let deep = vec!["d"; 17].join("/");
    let folder = folder(&[("a/SKILL.md", &skill("a")), (&format!("a/{deep}/"), b"")]);
    let problems = problems(folder.path());
    assert_eq!(problems.len(), 1);
    assert!(problems[0].ends_with("is in more than 16 folders; bring it further up"), "{problems:?}");
    // Outside skills nobody minds.
    let deep = format!("other/{deep}/x/");
    let folder = self::folder(&[("a/SKILL.md", &skill("a")), (&deep, b"")]);
    Skills::from_folder(folder.path()).unwrap();
}

#[test]
fn an_error_reads_the_same_when_main_returns_it() {
    let folder = folder(&[("a/SKILL.md", b"x"), ("b/SKILL.md", b"x")]);
    let error: SkillsError = Skills::from_folder(folder.path()).unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
    assert_eq!(error.to_string().lines().count(), 3, "{error}");
}

#[test]
fn the_example_is_a_folder_of_skills() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/everything/skills");
    let skills = Skills::from_folder(folder).unwrap();
    assert_eq!(skills.uris(), ["skill://acme/billing/refunds/SKILL.md", "skill://query-review/SKILL.md"]);
}
