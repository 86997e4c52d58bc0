//! What `[audit]` becomes, and how it is told what is wrong with it.

use super::*;

const KEY: &str = "key = \"0101010101010101010101010101010101010101010101010101010101010101\"";

fn resolve(text: &str) -> Result<Audit, Vec<Problem>> {
    let file: AuditFile = toml::from_str(text).unwrap();
    file.resolve(Path::new("/etc/trunkline"))
}

fn wrong(text: &str) -> Vec<String> {
    let problems = resolve(text).unwrap_err();
    problems.into_iter().map(|problem| format!("{}: {}", problem.path.join("."), problem.message)).collect()
}

#[test]
fn defaults_are_strict_and_a_path_is_taken_from_the_folder_of_the_file() {
    let audit = resolve(&format!("sink = \"file:log/audit.jsonl\"\n{KEY}\nnode = \"web-1\"")).unwrap();
    assert_eq!(audit.sink, SinkChoice::File("/etc/trunkline/log/audit.jsonl".into()));
    assert_eq!((audit.mode, audit.on_failure, audit.fsync), (Mode::Strict, OnFailure::Stop, Fsync::Always));
    assert_eq!(audit.rotation, Rotation { size: 100 << 20, keep: None });
    assert_eq!(&*audit.node, "web-1");
    let audit =
        resolve(&format!("sink = \"stdout\"\n{KEY}\nmode = \"fast\"\non-failure = \"continue\"")).unwrap();
    assert_eq!((audit.mode, audit.on_failure), (Mode::Fast, OnFailure::Continue));
    assert_eq!(audit.fsync, Fsync::Every(Duration::from_secs(1)));
    assert!(is_node(&audit.node));
    for (sink, choice) in
        [("syslog", SinkChoice::Syslog), ("postgres:shop", SinkChoice::Postgres("shop".to_owned()))]
    {
        assert_eq!(resolve(&format!("sink = \"{sink}\"\n{KEY}\nfsync = \"never\"")).unwrap().sink, choice);
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_never_the_key() {
    assert_eq!(wrong(""), ["audit: `[audit]` needs a `sink`", "audit: `[audit]` needs a `key`"]);
    let text =
        "sink = \"kafka:x\"\nkey = \"hunter2\"\nfsync = \"often\"\nnode = \"a b\"\nrotate-size = \"10\"";
    let told = wrong(text);
    assert_eq!(
        told,
        [
            "audit.sink: `kafka:x` is no sink",
            "audit.key: this is no key of 32 bytes in base64 or hex",
            "audit.fsync: `often` does not say when lines are forced to the disk",
            "audit.node: `a b` is no name of a node",
            "audit.rotate-size: a file of 10 bytes holds hardly a line",
        ]
    );
    assert_eq!(
        wrong(&format!("sink = \"syslog\"\n{KEY}\nrotate-keep = 3")),
        ["audit.rotate-keep: `rotate-keep` is for a `sink` that is a file"]
    );
    let file: AuditFile = toml::from_str(KEY).unwrap();
    assert!(!format!("{file:?}").contains("0101"));
}
