//! What is sealed opens, with keys of ours and of the official tool, and nothing that was changed does.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

fn identity(byte: u8) -> Identity {
    Identity::of([byte; 32]).unwrap()
}

fn seal(text: &[u8], identities: &[&Identity]) -> Vec<u8> {
    let recipients: Vec<Recipient> = identities.iter().map(|identity| identity.recipient()).collect();
    Sealing::new(&recipients).unwrap().seal(text).unwrap()
}

#[test]
fn what_is_sealed_opens_with_each_key_it_was_sealed_for_and_no_other() {
    let (one, two, other) = (identity(1), identity(2), identity(3));
    for length in [0, 1, 15, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let text: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let sealed = seal(&text, &[&one, &two]);
        for key in [&one, &two] {
            assert_eq!(open(&sealed, std::slice::from_ref(key)).unwrap(), text, "{length}");
        }
        assert_eq!(open(&sealed, &[other.clone(), two.clone()]).unwrap(), text);
        assert_eq!(open(&sealed, std::slice::from_ref(&other)), Err(OpenError::NoMatch));
        assert_eq!(open(armored(&sealed).as_bytes(), std::slice::from_ref(&one)).unwrap(), text);
    }
}

const CHUNK: usize = 64 << 10;

#[test]
fn texts_of_one_sealing_share_their_header_and_nothing_else() {
    let one = identity(1);
    let sealing = Sealing::new(&[one.recipient()]).unwrap();
    let (first, second) = (sealing.seal(b"123-45-6789").unwrap(), sealing.seal(b"123-45-6789").unwrap());
    let header = sealing.header.len();
    assert_eq!(first[..header], second[..header]);
    assert_ne!(first[header..], second[header..]);
    let line = sealing.seal_line(b"123-45-6789").unwrap();
    assert!(line.starts_with("YWdlLWVuY3J5cHRpb24ub3Jn") && line.is_ascii() && line.len() < 340, "{line}");
    assert_eq!(open(line.as_bytes(), &[one]).unwrap(), b"123-45-6789");
}

#[test]
fn a_change_anywhere_is_noticed() {
    let one = identity(1);
    let sealed = seal(b"a secret", &[&one]);
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(open(&changed, std::slice::from_ref(&one)).is_err(), "byte {at}");
    }
    for length in 0..sealed.len() {
        assert!(open(&sealed[..length], std::slice::from_ref(&one)).is_err(), "length {length}");
    }
    let mut longer = sealed.clone();
    longer.push(0);
    assert!(open(&longer, &[one]).is_err());
}

#[test]
fn keys_are_read_as_they_are_written_and_never_shown() {
    let one = identity(7);
    let written = one.expose();
    assert_eq!(written.parse::<Identity>().unwrap().recipient(), one.recipient());
    let recipient = one.recipient().to_string();
    assert_eq!(recipient.parse::<Recipient>(), Ok(one.recipient()));
    assert_eq!(written.parse::<Recipient>(), Err(BadKey::SecretAsRecipient));
    let mut changed = recipient.clone();
    changed.replace_range(10..11, if &recipient[10..11] == "q" { "p" } else { "q" });
    for bad in ["", "age1", &changed, &recipient.to_uppercase(), "ssh-ed25519 AAAA"] {
        assert_eq!(bad.parse::<Recipient>(), Err(BadKey::Recipient), "{bad}");
    }
    assert!(!format!("{one:?}").to_uppercase().contains(&written[20..40]), "{one:?}");
    let file = format!("# made today\n# public key: {recipient}\n{written}\n\n");
    assert_eq!(Identity::read_all(&file).unwrap().len(), 1);
    assert_eq!(Identity::read_all("# nothing\n").unwrap_err(), BadKey::Identity);
    assert!(Identity::read_all(&format!("{written}\nx\n")).is_err());
}

/// The example of the specification: the recipient of an identity.
#[test]
fn the_recipient_of_an_identity_is_that_of_the_official_tool() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let made = Command::new("age-keygen")
        .arg("-o")
        .arg(&key)
        .output()
        .expect("age-keygen is installed; see scripts/test");
    assert!(made.status.success(), "{made:?}");
    let text = std::fs::read_to_string(&key).unwrap();
    let identities = Identity::read_all(&text).unwrap();
    assert!(text.contains(&format!("# public key: {}\n", identities[0].recipient())), "{text}");
}

fn age(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("age")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("age is installed; see scripts/test");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_official_tool_opens_what_is_sealed_here_and_seals_what_opens_here() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Identity::random().unwrap(), Identity::random().unwrap());
    let key = folder.path().join("key");
    std::fs::write(&key, two.expose()).unwrap();
    let key = key.to_str().unwrap();
    for length in [0, 11, CHUNK, CHUNK + 1] {
        let text = vec![b'x'; length];
        let sealed = seal(&text, &[&one, &two]);
        assert_eq!(age(&["-d", "-i", key], &sealed), text, "{length}");
        assert_eq!(age(&["-d", "-i", key], armored(&sealed).as_bytes()), text, "{length}");
        let recipients = [one.recipient().to_string(), two.recipient().to_string()];
        for form in [&[][..], &["-a"]] {
            let mut args = form.to_vec();
            recipients.iter().for_each(|recipient| args.extend(["-r", recipient]));
            let sealed = age(&args, &text);
            assert_eq!(open(&sealed, std::slice::from_ref(&two)).unwrap(), text, "{length} {form:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn bech32_reads_what_it_writes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let text = bech32::encode("age", &bytes);
        prop_assert_eq!(bech32::decode("age", &text), Some(bytes));
    }

    #[test]
    fn no_bytes_end_the_process(bytes in proptest::collection::vec(any::<u8>(), 0..200), head in 0_usize..3) {
        let start: &[u8] = [&b"age-encryption.org/v1\n"[..], b"age-encryption.org/v1\n-> X25519 ", b""][head];
        let one = identity(1);
        prop_assert!(open(&[start, &bytes].concat(), &[one]).is_err());
    }
}

/// The vectors of the community's test kit (C2SP CCTV, `age/testdata`, which may be copied without attribution): those for keys of type
/// X25519 that are small.
#[test]
fn the_vectors_of_the_test_kit_open_or_fail_as_they_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redact/age/testkit");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let identities: Vec<Identity> =
            head.lines().filter_map(|line| line.strip_prefix("identity: ")?.parse().ok()).collect();
        let opened = open(&bytes[end + 2..], &identities);
        let fits = match value("expect").unwrap() {
            "success" => opened.as_ref().is_ok_and(|text| {
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text);
                let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                value("payload") == Some(hex.as_str())
            }),
            "no match" => opened == Err(OpenError::NoMatch),
            _ => opened == Err(OpenError::Malformed),
        };
        seen += 1;
        if !fits {
            wrong.push(format!(
                "{}: {} {opened:?}",
                path.file_name().unwrap().display(),
                value("expect").unwrap()
            ));
        }
    }
    assert!(seen > 60, "{seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
