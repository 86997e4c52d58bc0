//! `trunkline secret` and `${sealed:...}` as they are used, with the official program `age` on the other side.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::{COUNT, Folder, config, trunkline};

fn with_input(folder: &Folder, args: &[&str], input: &[u8]) -> Output {
    let mut command = trunkline();
    command.args(args).current_dir(folder.path());
    piped(command, input)
}

fn piped(mut command: Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that refuses does not read it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn line(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_sealed_secret_is_read_by_the_server_and_renewed_in_place() {
    let folder = Folder::new();
    let recipient = line(&folder.run(&["secret", "keygen"]));
    assert!(recipient.starts_with("age1"), "{recipient}");
    let key = folder.path().join("trunkline.key");
    #[cfg(unix)]
    assert_eq!(mode(&key), 0o600);
    let again = folder.run(&["secret", "keygen"]);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    assert!(text(&again.stderr).contains("is there already"), "{again:?}");

    let reference = line(&with_input(&folder, &["secret", "seal"], b"shop.db\n"));
    assert!(
        reference.starts_with("${sealed:YWdl") && reference.ends_with('}') && !reference.contains('\n'),
        "{reference}"
    );
    let file = config(COUNT).replace("\"shop.db\"", &format!("\"{reference}\" # the path"));
    folder.write(&file);
    let checked = folder.run(&["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));

    assert_eq!(with_input(&folder, &["secret", "unseal"], reference.as_bytes()).stdout, b"shop.db");
    let json: Value = serde_json::from_str(&line(&with_input(
        &folder,
        &["secret", "unseal", "--output", "json"],
        reference.as_bytes(),
    )))
    .unwrap();
    assert_eq!(json["secret"], "shop.db");

    let before = fs::read_to_string(&key).unwrap();
    let renewed: Value =
        serde_json::from_str(&line(&folder.run(&["secret", "rotate", "--output", "json"]))).unwrap();
    assert_eq!(renewed["resealed"], 1);
    assert_ne!(renewed["recipient"], recipient.as_str());
    let (new_key, new_file) =
        (fs::read_to_string(&key).unwrap(), fs::read_to_string(folder.config()).unwrap());
    assert!(!new_key.contains(before.lines().last().unwrap()));
    assert!(new_file.contains(" # the path") && !new_file.contains(&reference));
    #[cfg(unix)]
    assert_eq!(mode(&key), 0o600);
    assert_eq!(folder.run(&["check"]).status.code(), Some(0));
    let kept = folder.run(&["secret", "rotate", "--keep-old"]);
    assert_eq!(kept.status.code(), Some(0), "{kept:?}");
    assert_eq!(fs::read_to_string(&key).unwrap().matches("AGE-SECRET-KEY-1").count(), 2);
    assert_eq!(folder.run(&["check"]).status.code(), Some(0));
}

#[test]
fn what_is_wrong_is_told_without_showing_a_secret() {
    let folder = Folder::new();
    let missing = with_input(&folder, &["secret", "seal"], b"hunter2");
    assert_eq!(missing.status.code(), Some(78), "{missing:?}");
    assert!(text(&missing.stderr).contains("`trunkline secret keygen` makes one"), "{missing:?}");
    line(&folder.run(&["secret", "keygen"]));
    let on_line = folder.run(&["secret", "seal", "hunter2"]);
    assert_eq!(on_line.status.code(), Some(2));
    assert!(
        text(&on_line.stderr).contains("never taken from the command line")
            && !text(&on_line.stderr).contains("hunter2"),
        "{on_line:?}"
    );
    assert_eq!(with_input(&folder, &["secret", "seal"], b"\n").status.code(), Some(2));
    let to_secret = with_input(&folder, &["secret", "seal", "--to", "AGE-SECRET-KEY-1QQQQ"], b"x");
    assert_eq!(to_secret.status.code(), Some(2));
    assert!(!text(&to_secret.stderr).contains("QQQQ"), "{to_secret:?}");

    let other = Folder::new();
    line(&other.run(&["secret", "keygen"]));
    let reference = line(&with_input(&other, &["secret", "seal"], b"hunter2"));
    let unsealed = with_input(&folder, &["secret", "unseal"], reference.as_bytes());
    assert_eq!((unsealed.status.code(), unsealed.stdout.len()), (Some(77), 0), "{unsealed:?}");
    assert_eq!(with_input(&folder, &["secret", "unseal"], b"rubbish").status.code(), Some(78));
    let file = folder.write(&config(COUNT).replace("\"shop.db\"", &format!("\"{reference}\"")));
    let checked = folder.run(&["check"]);
    assert_eq!(checked.status.code(), Some(78));
    let told = text(&checked.stderr);
    assert!(
        told.contains("sealed for another key")
            && told.contains("seal it again")
            && !told.contains("hunter2"),
        "{told}"
    );
    let before = fs::read_to_string(&file).unwrap();
    let keys = fs::read_to_string(folder.path().join("trunkline.key")).unwrap();
    assert_eq!(folder.run(&["secret", "rotate"]).status.code(), Some(77));
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert_eq!(fs::read_to_string(folder.path().join("trunkline.key")).unwrap(), keys);
}

#[test]
fn the_official_program_opens_what_is_sealed_for_a_person_and_seals_for_the_server() {
    let folder = Folder::new();
    let recipient = line(&folder.run(&["secret", "keygen"]));
    let age = |args: &[&str], input: &[u8]| {
        let mut command = Command::new("age");
        command.args(args).current_dir(folder.path());
        let output = piped(command, input);
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    };
    let sealed: Value = serde_json::from_str(&line(&with_input(
        &folder,
        &["secret", "seal", "--output", "json"],
        "p\u{e9}w".as_bytes(),
    )))
    .unwrap();
    let binary = STANDARD.decode(sealed["sealed"].as_str().unwrap()).unwrap();
    assert_eq!(age(&["-d", "-i", "trunkline.key"], &binary), "p\u{e9}w".as_bytes());
    for form in [&["-r", &recipient][..], &["-a", "-r", &recipient]] {
        let sealed = age(form, b"from age");
        assert_eq!(with_input(&folder, &["secret", "unseal"], &sealed).stdout, b"from age");
    }
}
