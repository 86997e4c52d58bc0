//! Tables of what each detector finds and leaves, and how long it takes at worst.

use proptest::prelude::*;

use super::*;

fn clean(detector: Detector, text: &str) -> String {
    Detectors::default().with(detector).clean(text, "", &mut Tally::default()).into_owned()
}

/// Each line is a text and what is to be seen of it; what is equal holds nothing.
fn table(detector: Detector, lines: &[(&str, &str)]) {
    for (text, expected) in lines {
        assert_eq!(clean(detector, text), *expected, "{text}");
    }
}

#[test]
fn addresses_are_found_in_every_spelling_and_nothing_else_is() {
    table(
        Detector::Email,
        &[
            ("write to ann.smith+x@mail.example.org.", "write to [email]."),
            ("<ann@example.com>, \"bob@example.com\"", "<[email]>, \"[email]\""),
            ("mailto:ann@example.com?subject=x", "mailto:[email]?subject=x"),
            ("q=ann%40example.com&n=1", "[email]&n=1"),
            ("\"ann smith\"@example.com", "[email]"),
            ("ünï@bücher.example is one", "[email] is one"),
            ("ann@\u{200b}example.com", "[email]"),
            ("ann＠example．com", "[email]"),
            ("o'neil@example.co.uk", "[email]"),
            ("a@b.co,c@d.co;e@f.co", "[email],[email];[email]"),
            ("root@localhost", "root@localhost"),
            ("left-pad@1.3.0", "left-pad@1.3.0"),
            ("@ann @ bob a@ @b.com", "@ann @ bob a@ @b.com"),
            ("ann@example.com-", "[email]-"),
        ],
    );
}

#[test]
fn cards_need_prefix_length_and_check_digit() {
    table(
        Detector::Card,
        &[
            ("4111111111111111", "[card]"),
            ("4111 1111 1111 1111", "[card]"),
            ("4111-1111-1111-1111 exp 12/27", "[card] exp 12/27"),
            ("on 2024-01-05 5555555555554444 was used", "on 2024-01-05 [card] was used"),
            ("3782 822463 10005", "[card]"),
            ("3056 930902 5904", "[card]"),
            ("6011111111111117,3530111333300000", "[card],[card]"),
            ("4222222222222", "[card]"),
            ("2223003122003222", "[card]"),
            ("4111\u{200b}1111\u{a0}1111\u{2011}1111", "[card]"),
            ("４１１１１１１１１１１１１１１１", "[card]"),
            ("٤١١١١١١١١١١١١١١١", "[card]"),
            ("4.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1", "[card]"),
            ("4111111111111111.0", "[card].0"),
            ("Visa4111111111111111", "Visa[card]"),
            ("4111111111111112", "4111111111111112"),
            ("0.4111111111111111", "0.4111111111111111"),
            ("4111.111111111111", "4111.111111111111"),
            ("14111111111111111", "14111111111111111"),
            ("1700000000000000", "1700000000000000"),
            ("0000000000000000", "0000000000000000"),
            ("abcdef4111111111111111abcdef", "abcdef4111111111111111abcdef"),
            ("51 52 53 54 55 56 57 58", "51 52 53 54 55 56 57 58"),
        ],
    );
}

#[test]
fn accounts_need_country_length_and_remainder() {
    table(
        Detector::Iban,
        &[
            ("DE89370400440532013000", "[iban]"),
            ("IBAN: DE89 3704 0044 0532 0130 00, thanks", "IBAN: [iban], thanks"),
            ("gb82west12345698765432", "[iban]"),
            ("FR14 2004 1010 0505 0001 3M02 606", "[iban]"),
            ("NO93 8601 1117 947", "[iban]"),
            ("MT84MALT011000012345MTLCAST001S", "[iban]"),
            ("DE89-3704-0044-0532-0130-00", "[iban]"),
            ("DE\u{200b}89370400440532013000", "[iban]"),
            ("DE88370400440532013000", "DE88370400440532013000"),
            ("DE893704004405320130001", "DE893704004405320130001"),
            ("XDE89370400440532013000", "XDE89370400440532013000"),
            ("ZZ89370400440532013000", "ZZ89370400440532013000"),
        ],
    );
}

#[test]
fn telephones_are_told_from_ids_and_dates() {
    table(
        Detector::Phone,
        &[
            ("+49 30 1234567", "[phone]"),
            ("+1 (555) 234-5678", "[phone]"),
            ("+4915112345678", "[phone]"),
            ("call (555) 234-5678 now", "call [phone] now"),
            ("555-234-5678, 555.234.5678", "[phone], [phone]"),
            ("1-800-555-2345", "[phone]"),
            ("030 1234567", "[phone]"),
            ("06 12 34 56 78", "[phone]"),
            ("0171/1234567", "[phone]"),
            ("020 7946 0958", "[phone]"),
            ("0049 30 123456", "[phone]"),
            ("tel: 5552345678", "tel: [phone]"),
            ("work_phone=5552345678", "work_phone=[phone]"),
            ("5552345678", "5552345678"),
            ("2026-11-26 08:00", "2026-11-26 08:00"),
            ("26.11.2026", "26.11.2026"),
            ("01-02-2024 12", "01-02-2024 12"),
            ("ORD-555-234-5678", "ORD-555-234-5678"),
            ("192.168.100.123", "192.168.100.123"),
            ("123-45-6789", "123-45-6789"),
            ("1,234,567.89", "1,234,567.89"),
            ("7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f01", "7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f01"),
            ("978-3-16-148410-0", "978-3-16-148410-0"),
            ("2026-11-26T08:00:00+02:00", "2026-11-26T08:00:00+02:00"),
        ],
    );
    let named = |key: &str| {
        Detectors::default()
            .with(Detector::Phone)
            .clean("5552345678", key, &mut Tally::default())
            .into_owned()
    };
    assert_eq!((named("mobileNumber").as_str(), named("id").as_str()), ("[phone]", "5552345678"));
}

#[test]
fn credentials_are_known_by_their_form_or_their_name() {
    let random = "Zk3vQ9xT1bW7nR5mL2pY8cJ4";
    let token = |prefix: &str| format!("{prefix}{random}{random}");
    for prefix in ["tlk_", "sk-", "ghp_", "github_pat_", "xoxb-", "glpat-", "AIza", "hf_", "npm_"] {
        assert_eq!(clean(Detector::Token, &format!("<{}>", token(prefix))), "<[token]>", "{prefix}");
    }
    let jwt = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";
    table(
        Detector::Token,
        &[
            (&format!("token {jwt}."), "token [token]"),
            (&format!("Authorization: Bearer {random}"), "Authorization: Bearer [token]"),
            ("authorization: basic dXNlcjpwYXNzd29yZA==", "authorization: basic [token]"),
            ("AKIAIOSFODNN7EXAMPLE", "[token]"),
            ("postgres://ann:hunter2@db.example.com/shop", "postgres://ann:[token]@db.example.com/shop"),
            ("postgres://ann:p/ss@w@h/x", "postgres://ann:[token]@h/x"),
            ("postgres://db.example.com:5432/shop", "postgres://db.example.com:5432/shop"),
            ("password=hunter2!x9 next", "password=[token] next"),
            ("{\"client_secret\": \"8f3a-9c1d-77be\"}", "{\"client_secret\": \"[token]\"}"),
            ("api_key=abcdef12345678&x=1", "api_key=[token]&x=1"),
            ("AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQQPZRY9X8GF2TVDW0S3JN", "[token]"),
            ("a\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----\nb", "a\n[token]\nb"),
            ("-----BEGIN PRIVATE KEY-----\\nMHcCAQ", "[token]"),
            ("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"),
            ("the password: required", "the password: required"),
            ("token: expired", "token: expired"),
            ("task-force-seventy-seven-two", "task-force-seventy-seven-two"),
            ("sk-learn-based-feature-extraction", "sk-learn-based-feature-extraction"),
            ("Bearer token missing", "Bearer token missing"),
            ("eyJub3QiOiJhIGhlYWRlciJ9.abc.def", "eyJub3QiOiJhIGhlYWRlciJ9.abc.def"),
            ("9b74c9897bac770ffc029102a200c5de", "9b74c9897bac770ffc029102a200c5de"),
            ("token_type=Bearer2x9", "token_type=Bearer2x9"),
        ],
    );
}

#[test]
fn what_overlaps_is_hidden_as_one() {
    let all: Detectors = Detector::ALL.into_iter().collect();
    let mut tally = Tally::default();
    let text = "postgres://ann:s3cret@db.example.com, +4111111111111111 and DE89370400440532013000";
    let clean = all.clean(text, "", &mut tally).into_owned();
    assert_eq!(clean, "postgres://ann:[email], +[card] and [iban]");
    assert_eq!(
        (tally.found(Detector::Card), tally.found(Detector::Iban), tally.found(Detector::Token)),
        (1, 1, 0)
    );
}

#[test]
fn names_of_secrets_are_known_in_every_spelling() {
    for name in [
        "password",
        "DB_PASSWORD",
        "clientSecret",
        "x-api-key",
        "Authorization",
        "private_key",
        "refreshToken",
        "seal-keys",
        "set-cookie",
    ] {
        assert!(is_secret_name(name.as_bytes()), "{name}");
    }
    for name in [
        "key",
        "token_type",
        "password_changed_at",
        "tokens_left",
        "keyboard",
        "passenger",
        "monkey",
        "secretary",
        "",
    ] {
        assert!(!is_secret_name(name.as_bytes()), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    /// Whatever the text, what comes out is text, and looking again finds nothing that could be hidden twice.
    #[test]
    fn any_text_is_cleaned_to_text(text in "(?s)[ -~€\u{200b}４@0-9+\\-. ]{0,200}|.{0,80}") {
        let all: Detectors = Detector::ALL.into_iter().collect();
        let cleaned = all.clean(&text, "", &mut Tally::default()).into_owned();
        let found = all.find(&text, "");
        prop_assert!(found.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
        prop_assert_eq!(found.is_empty(), cleaned == text);
    }
}

/// Much of what each scanner has most to do with takes no longer than it may: nothing is looked at again and again.
#[test]
fn hostile_texts_take_linear_time() {
    let all: Detectors = Detector::ALL.into_iter().collect();
    for unit in [
        "@",
        "a@",
        "a.",
        "4111 ",
        "1-",
        "4",
        "DE89 ",
        "+1",
        "(",
        "eyJ.",
        "://",
        "a:",
        "password=",
        "-----BEGIN PRIVATE KEY",
        "Bearer ",
        "\"@",
        "sk-",
        "token:\"",
        "４",
        "-----END ",
    ] {
        let text = unit.repeat((1 << 16) / unit.len());
        let started = std::time::Instant::now();
        all.clean(&text, "", &mut Tally::default());
        assert!(started.elapsed().as_secs_f64() < 5.0, "{unit}: {:?}", started.elapsed());
    }
}
