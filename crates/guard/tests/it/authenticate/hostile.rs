//! Tokens and headers that somebody made to get in: every one is refused for the right reason, and nothing of it is told.

use std::error::Error as _;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use trunkline_guard::authenticate::{Fault, Identity};
use trunkline_service::Chain;
use trunkline_service::authenticate::{Authenticator as _, Credentials};

use super::idp::Idp;
use super::logged::Logged;
use super::signer::{EDDSA, ES256, ES384, RSA, Signer, b64, rsa_numbers};
use super::{RESOURCE, claims, claims_with, identity, now, show};

/// A text that stands in the claims of every token here, in header members that were made up, and nowhere else.
const MARK: &str = "h0stile-m4rk";

/// One attempt.
struct Attempt {
    what: String,
    authorization: Option<Vec<u8>>,
    api_key: Option<Vec<u8>>,
    fault: Fault,
}

/// The attempts, as they are gathered.
struct Attempts<'i> {
    idp: &'i Idp,
    other: Signer,
    all: Vec<Attempt>,
}

impl Attempts<'_> {
    fn head(&mut self, what: &str, authorization: impl AsRef<[u8]>, fault: Fault) {
        let authorization = Some(authorization.as_ref().to_vec());
        self.all.push(Attempt { what: what.into(), authorization, api_key: None, fault });
    }

    fn token(&mut self, what: &str, token: &str, fault: Fault) {
        self.head(what, format!("Bearer {token}"), fault);
    }

    fn claims(&self) -> Value {
        claims_with(self.idp, json!({ "sub": MARK }))
    }

    fn good(&self) -> String {
        ES256.token(&json!({ "alg": "ES256", "kid": "e" }), &self.claims())
    }

    /// A token with other claims, signed as it must be.
    fn said(&mut self, what: &str, other: Value, fault: Fault) {
        let mut with = json!({ "sub": MARK });
        with.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        let token = ES256.token(&json!({ "alg": "ES256", "kid": "e" }), &claims_with(self.idp, with));
        self.token(what, &token, fault);
    }

    /// A token whose claims are this text, signed as it must be.
    fn said_text(&mut self, what: &str, claims: &str, fault: Fault) {
        self.token(what, &ES256.token_of(r#"{"alg":"ES256","kid":"e"}"#, claims), fault);
    }

    /// A token with another header, signed by the key on P-256.
    fn headed(&mut self, what: &str, header: &str, fault: Fault) {
        let claims = self.claims().to_string();
        self.token(what, &ES256.token_of(header, &claims), fault);
    }

    /// A token with this header and any signature.
    fn forged(&mut self, what: &str, header: &Value, signature: impl AsRef<[u8]>, fault: Fault) {
        let message = format!("{}.{}", b64(header.to_string()), b64(self.claims().to_string()));
        self.token(what, &format!("{message}.{}", b64(signature)), fault);
    }

    // ---------------------------------------------------------------------------------------------------------------

    fn without_signature(&mut self) {
        for alg in ["none", "None", "NONE", "nOnE", "none ", "", "null"] {
            let header = json!({ "alg": alg, "kid": "e" });
            self.forged(&format!("alg {alg:?} without signature"), &header, "", Fault::Algorithm);
        }
        let message = format!("{}.{}", b64(r#"{"alg":"none"}"#), b64(self.claims().to_string()));
        self.token("alg none, two parts", &message, Fault::Shape);
        self.headed("alg none, signed all the same", r#"{"alg":"none","kid":"e"}"#, Fault::Algorithm);
        self.headed("no alg", r#"{"kid":"e"}"#, Fault::Algorithm);
        for alg in ["null", "1", "true", r#"["ES256"]"#, r#"{"ES256":1}"#] {
            self.headed(&format!("alg is {alg}"), &format!(r#"{{"alg":{alg},"kid":"e"}}"#), Fault::Algorithm);
        }
        for alg in ["es256", "ES256 ", "ES512", "ES256K", "RS1", "EdDsa", "ＥＳ256", "ES256\\u0000"] {
            self.headed(&format!("alg {alg}"), &format!(r#"{{"alg":"{alg}","kid":"e"}}"#), Fault::Algorithm);
        }
        self.forged("ES256, signature empty", &json!({ "alg": "ES256", "kid": "e" }), "", Fault::Signature);
    }

    /// The public key as the secret of an HMAC.
    fn confused(&mut self) {
        let Signer::Rsa(pair) = &*RSA else { panic!("no RSA key") };
        let der = pair.public_key().as_ref().to_vec();
        let pem = format!(
            "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
            STANDARD.encode(&der)
        );
        let (modulus, _) = rsa_numbers(&der);
        let jwk = RSA.jwk(Some("r")).to_string().into_bytes();
        let secrets = [
            ("DER", der),
            ("PEM", pem.into_bytes()),
            ("modulus", modulus),
            ("JWK", jwk),
            ("nothing", Vec::new()),
        ];
        for (alg, by) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            for (name, secret) in &secrets {
                let header = json!({ "alg": alg, "kid": "r" });
                let message = format!("{}.{}", b64(header.to_string()), b64(self.claims().to_string()));
                let tag = hmac::sign(&hmac::Key::new(by, secret), message.as_bytes());
                self.forged(&format!("{alg} with the {name} of the RSA key"), &header, tag, Fault::Algorithm);
            }
        }
        // An algorithm for another kind of key than the one named, and keys of another kind than their name.
        for (alg, kid) in
            [("RS256", "e"), ("PS256", "e"), ("ES256", "r"), ("ES384", "e"), ("EdDSA", "e"), ("ES256", "f")]
        {
            let header = format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#);
            self.headed(&format!("{alg} with key {kid}"), &header, Fault::NoSuchKey);
        }
        self.headed("signed on another curve", r#"{"alg":"ES384","kid":"f"}"#, Fault::Signature);
        self.headed("EdDSA with a signature of ECDSA", r#"{"alg":"EdDSA","kid":"d"}"#, Fault::Signature);
        let message = format!("{}.{}", b64(r#"{"alg":"PS256","kid":"r"}"#), b64(self.claims().to_string()));
        let signature = RSA.sign(message.as_bytes());
        self.token(
            "PS256 with a signature of PKCS1",
            &format!("{message}.{}", b64(signature)),
            Fault::Signature,
        );
    }

    fn key_ids(&mut self) {
        let long = "k".repeat(10 * 1024);
        for kid in [
            "../../../../dev/null",
            "/etc/passwd",
            "e' or '1'='1",
            "'; drop table keys; --",
            "e\\u0000",
            "e\\n",
            "е",
            "e\\u0301",
            "http://127.0.0.1/keys",
            "$(id)",
            "${file:/etc/passwd}",
            "E",
            "e ",
        ] {
            self.headed(
                &format!("kid {kid}"),
                &format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#),
                Fault::NoSuchKey,
            );
        }
        for kid in [r#""""#, r#"["e"]"#, "7", "null", "{}", "true", &format!("{long:?}")] {
            let header = format!(r#"{{"alg":"ES256","kid":{kid}}}"#);
            self.headed(&format!("kid is {}", &kid[..kid.len().min(9)]), &header, Fault::KeyId);
        }
        self.headed("no kid where several keys fit", r#"{"alg":"ES256"}"#, Fault::NoSuchKey);
    }

    /// Keys that the token brings along.
    fn own_keys(&mut self) {
        let evil = format!("{}/evil", self.idp.issuer());
        let (claims, jwk) = (self.claims(), self.other.jwk(Some("e")));
        for (name, value) in [
            ("jwk", jwk.clone()),
            ("jku", json!(evil)),
            ("x5u", json!(evil)),
            ("x5c", json!([STANDARD.encode("certificate")])),
            ("x5t#S256", json!(b64([7; 32]))),
        ] {
            let header = json!({ "alg": "ES256", "kid": "e", name: value });
            let token = self.other.token(&header, &claims);
            self.token(&format!("a key of its own in {name}"), &token, Fault::Signature);
            let header = json!({ "alg": "ES256", "kid": "mine", name: value });
            let token = self.other.token(&header, &claims);
            self.token(&format!("a key of its own in {name} under a new name"), &token, Fault::NoSuchKey);
        }
        let token = self.other.token(&json!({ "alg": "ES256", "kid": "e" }), &claims);
        self.token("signed by somebody else", &token, Fault::Signature);
    }

    fn extensions(&mut self) {
        for more in [
            r#""crit":["exp"]"#,
            r#""crit":[]"#,
            r#""b64":false,"crit":["b64"]"#,
            r#""b64":false"#,
            r#""zip":"DEF""#,
            r#""cty":"JWT""#,
            r#""enc":"A256GCM""#,
        ] {
            self.headed(
                &format!("header with {more}"),
                &format!(r#"{{"alg":"ES256","kid":"e",{more}}}"#),
                Fault::Critical,
            );
        }
        for typ in [
            "dpop+jwt",
            "logout+jwt",
            "secevent+jwt",
            "rt+jwt",
            "id_token",
            "JWE",
            "oauth-id-jag+jwt",
            "application/",
        ] {
            self.headed(
                &format!("typ {typ}"),
                &format!(r#"{{"alg":"ES256","kid":"e","typ":"{typ}"}}"#),
                Fault::Type,
            );
        }
        self.headed("typ is a list", r#"{"alg":"ES256","kid":"e","typ":["JWT"]}"#, Fault::Type);
    }

    fn shapes(&mut self) {
        let good = self.good();
        let parts: Vec<&str> = good.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("three parts") };
        let shapes = [
            ("one part", claims.to_owned()),
            ("two parts", format!("{header}.{claims}")),
            ("four parts", format!("{good}.{signature}")),
            (
                "five parts, as if encrypted",
                format!("{}.a.b.{claims}.{signature}", b64(r#"{"alg":"dir","enc":"A256GCM"}"#)),
            ),
            ("a dot in front", format!(".{good}")),
            ("dots alone", "..".to_owned()),
            ("header that is a list", format!("{}.{claims}.{signature}", b64(r#"["ES256"]"#))),
            ("header that is no JSON", format!("{}.{claims}.{signature}", b64("ES256"))),
        ];
        for (what, token) in shapes {
            self.token(what, &token, Fault::Shape);
        }
        self.token("signature left out", &format!("{header}.{claims}."), Fault::Signature);
        self.token("claims left out", &format!("{header}..{signature}"), Fault::Json);
        self.token("padded signature", &format!("{good}=="), Fault::Base64);
        self.token(
            "claims of plain base64",
            &format!("{header}.{}.{signature}", STANDARD.encode([0xFB, 0xFF, 0xFE])),
            Fault::Base64,
        );
        self.token("claims that say nothing", &format!("{header}.{}.{signature}", b64("{}")), Fault::Issuer);
        self.token("spare bits in the signature", &other_spare_bits(&good), Fault::Base64);
        let nested = ES256.token_of(r#"{"alg":"ES256","kid":"e"}"#, &good);
        self.token("a token within a token", &nested, Fault::Json);
        self.token("of 20 KB", &format!("{header}.{}.{signature}", "A".repeat(20_000)), Fault::TooLong);
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(2000), "]".repeat(2000));
        self.said_text("nested 2000 deep", &deep, Fault::Json);
        self.said_text("claims with more behind", &format!("{}x", self.claims()), Fault::Json);
        self.said_text("claims are a list", "[]", Fault::Json);
        let message = format!("{header}.{}", b64([b"{\"sub\":\"\xff\"}".as_slice()].concat()));
        self.token(
            "claims that are no UTF-8",
            &format!("{message}.{}", b64(ES256.sign(message.as_bytes()))),
            Fault::Json,
        );
    }

    fn repeated(&mut self) {
        let (iss, soon) = (self.idp.issuer(), now() + 300);
        self.headed("alg twice", r#"{"alg":"none","alg":"ES256","kid":"e"}"#, Fault::Repeated);
        self.headed(
            "alg twice, once escaped",
            r#"{"alg":"ES256","\u0061lg":"none","kid":"e"}"#,
            Fault::Repeated,
        );
        self.headed("kid twice", r#"{"alg":"ES256","kid":"x","kid":"e"}"#, Fault::Repeated);
        for (name, twice) in [
            ("aud", format!(r#""aud":"x","aud":"{RESOURCE}""#)),
            ("exp", format!(r#""exp":1,"exp":{soon}"#)),
            ("iss", format!(r#""iss":"x","iss":"{iss}""#)),
            ("sub", format!(r#""sub":"admin","sub":"{MARK}""#)),
            ("an inner member", r#""x":[{"y":{"a":1,"a":2}}]"#.to_owned()),
        ] {
            let usual: Vec<String> = [("aud", RESOURCE), ("iss", &iss), ("sub", MARK)]
                .iter()
                .filter(|(other, _)| *other != name)
                .map(|(other, value)| format!(r#""{other}":"{value}","#))
                .collect();
            let exp = if name == "exp" { String::new() } else { format!(r#""exp":{soon},"#) };
            self.said_text(
                &format!("{name} twice"),
                &format!("{{{}{exp}{twice}}}", usual.concat()),
                Fault::Repeated,
            );
        }
    }

    fn times(&mut self) {
        self.said("expired by a second", json!({ "exp": now() - 31 }), Fault::Expired);
        self.said("expired long ago", json!({ "exp": 1 }), Fault::Expired);
        self.said("exp with a fraction, over", json!({ "exp": (now() - 40) as f64 + 0.5 }), Fault::Expired);
        self.said("exp zero", json!({ "exp": 0 }), Fault::Expired);
        for exp in [
            json!("9999999999"),
            json!(-1),
            json!(-1.5),
            json!(1e300),
            json!(u64::MAX),
            json!(now() * 1000),
            json!(true),
            json!([now() + 9]),
        ] {
            self.said(&format!("exp is {exp}"), json!({ "exp": exp }), Fault::Date);
        }
        self.said("no exp", json!({ "exp": null }), Fault::Date);
        let iss = self.idp.issuer();
        for (exp, fault) in [
            ("1e999", Fault::Json),
            ("null", Fault::Date),
            ("0x7fffffff", Fault::Json),
            ("+9999999999", Fault::Json),
            ("NaN", Fault::Json),
            ("9999999999999999999999", Fault::Date),
        ] {
            let text = format!(r#"{{"iss":"{iss}","sub":"{MARK}","aud":"{RESOURCE}","exp":{exp}}}"#);
            self.said_text(&format!("exp is {exp}"), &text, fault);
        }
        self.said("nbf in the future", json!({ "nbf": now() + 60 }), Fault::NotYet);
        self.said("iat in the future", json!({ "iat": now() + 60 }), Fault::NotYet);
        self.said("nbf as text", json!({ "nbf": "0" }), Fault::Date);
    }

    fn look_alikes(&mut self) {
        for aud in [
            "https://gw.example/mc",
            "https://gw.example/mcp/",
            "https://gw.example/mcp2",
            "https://gw.example/MCP",
            "https://gw.example/mcp?x",
            "https://gw.example/mcp#x",
            "https://gw.example/%6dcp",
            "https://gw.example/./mcp",
            "https://gw.example/x/../mcp",
            "https://gw.example:443/mcp",
            "https://gw.example:8443/mcp",
            "https://gw.example./mcp",
            "https://gw.example@evil.example/mcp",
            "https://evil.example/https://gw.example/mcp",
            "https://gw.example.evil/mcp",
            "https://gw.exаmple/mcp",
            "http://gw.example/mcp",
            "gw.example/mcp",
            "https://gw.example",
            " https://gw.example/mcp",
            "https://gw.example/mcp\n",
            "*",
            "",
        ] {
            self.said(&format!("aud {aud:?}"), json!({ "aud": aud }), Fault::Audience);
        }
        for aud in [
            json!(null),
            json!([]),
            json!([[RESOURCE]]),
            json!({ "0": RESOURCE }),
            json!([RESOURCE, 1]),
            json!(1),
        ] {
            self.said(&format!("aud {aud}"), json!({ "aud": aud }), Fault::Audience);
        }
        let iss = self.idp.issuer();
        for other in [
            format!("{iss}/"),
            iss.to_uppercase(),
            format!("{iss} "),
            format!("{iss}#"),
            format!("{iss}/../"),
            format!("{iss}@evil.example"),
            iss.replace("127.0.0.1", "localhost"),
            iss.replace("http:", "https:"),
            "https://evil.example".to_owned(),
            String::new(),
        ] {
            self.said(&format!("iss {other:?}"), json!({ "iss": other }), Fault::Issuer);
        }
        for other in [json!(null), json!(1), json!([iss]), json!({ "iss": iss })] {
            self.said(&format!("iss {other}"), json!({ "iss": other }), Fault::Issuer);
        }
        for sub in [
            json!(null),
            json!(""),
            json!(1),
            json!(["a"]),
            json!("a\u{0}b"),
            json!("a\r\nb"),
            json!("s".repeat(2000)),
        ] {
            let what = format!("sub {:.20}", sub.to_string());
            self.said(&what, json!({ "sub": sub }), Fault::Subject);
        }
        self.said("bound to a key that is not shown", json!({ "cnf": { "jkt": MARK } }), Fault::Bound);
        self.said("scopes that are none", json!({ "scope": { "admin": true } }), Fault::Scopes);
    }

    fn signatures(&mut self) {
        let header = json!({ "alg": "ES256", "kid": "e" });
        let message = format!("{}.{}", b64(header.to_string()), b64(self.claims().to_string()));
        let real = ES256.sign(message.as_bytes());
        let mut off = real.clone();
        off[40] ^= 1;
        let changed = [
            ("r and s zero", vec![0; 64]),
            ("r zero", [&[0; 32], &real[32..]].concat()),
            ("s zero", [&real[..32], &[0; 32]].concat()),
            ("all bits set", vec![0xFF; 64]),
            ("a byte short", real[..63].to_vec()),
            ("a byte long", [real.as_slice(), &[0]].concat()),
            ("in DER", der(&real)),
            ("one bit off", off),
            ("twice", [real.as_slice(), &real].concat()),
            ("as long as one of RSA", vec![1; 256]),
        ];
        for (what, signature) in changed {
            self.token(
                &format!("signature {what}"),
                &format!("{message}.{}", b64(signature)),
                Fault::Signature,
            );
        }
        let other = format!("{}.{}", b64(header.to_string()), b64(claims(self.idp).to_string()));
        self.token("signature of another token", &format!("{other}.{}", b64(&real)), Fault::Signature);
    }

    fn heads(&mut self) {
        let good = self.good();
        for (what, value) in [
            ("nothing", String::new()),
            ("a space", " ".to_owned()),
            ("the scheme alone", "Bearer".to_owned()),
            ("the scheme and a space", "Bearer ".to_owned()),
            ("a tab", format!("Bearer\t{good}")),
            ("two tokens", format!("Bearer {good} {good}")),
            ("two tokens and a comma", format!("Bearer {good}, {good}")),
            ("two credentials and a comma", format!("Bearer {good},Bearer {good}")),
            ("a comma behind", format!("Bearer {good},")),
            ("a space behind", format!("Bearer {good} ")),
            ("a space in front", format!(" Bearer {good}")),
            ("a parameter", format!("Bearer {good}, realm=x")),
        ] {
            self.head(what, value, Fault::Header);
        }
        for (what, value) in [
            ("Basic with a token", format!("Basic {}", STANDARD.encode(format!("ann:{good}")))),
            ("Basic with the token itself", format!("Basic {good}")),
            ("DPoP", format!("DPoP {good}")),
            ("Digest", "Digest username=\"x\"".to_owned()),
            ("the token alone", good.clone()),
            ("a scheme that begins alike", format!("BearerX {good}")),
            ("no space between", format!("Bearer{good}")),
            ("a parameter of a query", format!("access_token={good}")),
        ] {
            // Some of these have no scheme at all; both are told as what they are.
            let is_scheme = !value.split(' ').next().unwrap_or_default().contains('=');
            self.head(what, &value, if is_scheme { Fault::Scheme } else { Fault::Header });
        }
        for (what, token) in [
            ("in quotes", format!("\"{good}\"")),
            ("percent-encoded dot", good.replacen('.', "%2e", 1)),
            ("a null byte", format!("{good}\0")),
            ("a line break", format!("{good}\r\n")),
            ("white space of Unicode", format!("{good}\u{a0}")),
            ("a full stop of Unicode", good.replacen('.', "\u{3002}", 1)),
            ("a letter that looks alike", good.replacen('e', "\u{435}", 1)),
            ("padding within", good.replacen('.', "=.", 1)),
            ("padding alone", "==".to_owned()),
        ] {
            self.token(what, &token, Fault::Character);
        }
        self.head(
            "bytes that are no text",
            [b"Bearer ".as_slice(), &[0xC3, 0x28, 0xFF]].concat(),
            Fault::Character,
        );
        self.head("a header of 100 KB", format!("Bearer {}", "a".repeat(100_000)), Fault::TooLong);
        self.head("a header of spaces", " ".repeat(10_000), Fault::Header);
        self.token("opaque", &format!("opaque-{MARK}"), Fault::Shape);
    }

    fn two_headers(&mut self) {
        let good = self.good().into_bytes();
        let bearer = [b"Bearer ".as_slice(), &good].concat();
        let mut both = |what: &str, authorization: Option<&[u8]>, api_key: &[u8], fault| {
            let (authorization, api_key) = (authorization.map(<[u8]>::to_vec), Some(api_key.to_vec()));
            self.all.push(Attempt { what: what.into(), authorization, api_key, fault });
        };
        both("a token and a key", Some(&bearer), b"tk_key", Fault::Two);
        both("a token and an empty key", Some(&bearer), b"", Fault::Two);
        both("a token twice, in the header of keys too", Some(&bearer), &good, Fault::NoKey);
        both("a token in the header of keys", None, &good, Fault::NoKey);
        both("a bearer in the header of keys", None, &bearer, Fault::Character);
        both("another scheme and a key", Some(b"Basic eA=="), b"tk_key", Fault::Scheme);
        both("an empty key", None, b"", Fault::Header);
    }

    /// Tokens of other issuers and sections, right in all but where they are shown.
    fn of_others(&mut self, partner: &Idp) {
        let of_partner = |kid: &str, other: Value| {
            EDDSA.token(&json!({ "alg": "EdDSA", "kid": kid }), &claims_with(partner, other))
        };
        self.token(
            "of the partner, for somebody else",
            &of_partner("p", json!({ "sub": MARK })),
            Fault::Audience,
        );
        let own = json!({ "iss": self.idp.issuer(), "sub": MARK });
        self.token("of the partner in our name", &of_partner("p", own.clone()), Fault::NoSuchKey);
        self.token("of the partner in our name, with our key's", &of_partner("e", own), Fault::NoSuchKey);
        let theirs = ES256.token(
            &json!({ "alg": "ES256", "kid": "e" }),
            &claims_with(partner, json!({ "sub": MARK, "aud": "https://partner.example" })),
        );
        self.token("ours in the name of the partner", &theirs, Fault::NoSuchKey);
    }
}

/// Changes the bits of the last character that are not part of any byte.
fn other_spare_bits(token: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = token.as_bytes().to_vec();
    let last = bytes.last_mut().unwrap();
    let value = alphabet.iter().position(|byte| byte == last).unwrap();
    *last = alphabet[value ^ 1];
    String::from_utf8(bytes).unwrap()
}

/// Writes `r || s` as `Ecdsa-Sig-Value`.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let mut plain: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        if plain.first().is_none_or(|byte| *byte >= 0x80) {
            plain.insert(0, 0);
        }
        [&[2, u8::try_from(plain.len()).unwrap()], plain.as_slice()].concat()
    };
    let body = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
}

// --------------------------------------------------------------------------------------------------------------------

/// The texts that must not be found anywhere: each part of the credential that is long enough to be known by.
fn told_apart(attempt: &Attempt) -> Vec<String> {
    let mut texts = vec![MARK.to_owned()];
    for value in attempt.authorization.iter().chain(&attempt.api_key) {
        let value = String::from_utf8_lossy(value).into_owned();
        let parts = value.split(|c: char| !c.is_ascii_alphanumeric() && !"-_+/".contains(c));
        texts.extend(parts.filter(|part| part.len() >= 12).map(|part| part[..part.len().min(40)].to_owned()));
    }
    texts
}

async fn attempts(idp: &Idp, partner: &Idp) -> Vec<Attempt> {
    let mut attempts = Attempts { idp, other: Signer::es256(), all: Vec::new() };
    attempts.without_signature();
    attempts.confused();
    attempts.key_ids();
    attempts.own_keys();
    attempts.extensions();
    attempts.shapes();
    attempts.repeated();
    attempts.times();
    attempts.look_alikes();
    attempts.signatures();
    attempts.heads();
    attempts.two_headers();
    attempts.of_others(partner);
    attempts.all
}

async fn endpoint() -> (Idp, Idp, Arc<Identity>) {
    let (idp, partner) = (Idp::start().await, Idp::start().await);
    let second = Signer::es256();
    idp.publish(&[
        RSA.jwk(Some("r")),
        ES256.jwk(Some("e")),
        second.jwk(Some("e2")),
        ES384.jwk(Some("f")),
        EDDSA.jwk(Some("d")),
    ]);
    partner.publish(&[EDDSA.jwk(Some("p"))]);
    let identity = identity(&format!(
        "[jwt.company]\nissuer = '{}'\n[jwt.partner]\nissuer = '{}'\naudience = 'https://partner.example'\n",
        idp.issuer(),
        partner.issuer()
    ));
    (idp, partner, identity)
}

#[tokio::test]
async fn every_hostile_token_and_header_is_refused_for_its_reason_and_nothing_of_it_is_told() {
    let (logged, _guard) = Logged::listen();
    let (idp, partner, identity) = endpoint().await;
    let all = attempts(&idp, &partner).await;
    assert!(all.len() >= 200, "{} attempts", all.len());
    for attempt in &all {
        let (authorization, api_key) = (attempt.authorization.as_deref(), attempt.api_key.as_deref());
        let shown = Credentials { authorization, api_key };
        assert!(identity.remembered(&shown).is_none(), "{}: remembered", attempt.what);
        let judged = identity.authenticate(shown).await;
        let Err(denied) = judged else { panic!("{}: accepted", attempt.what) };
        let source = denied.source().map(ToString::to_string).unwrap_or_default();
        assert_eq!(denied.kind(), attempt.fault.kind(), "{}: {source}", attempt.what);
        assert!(
            source.ends_with(&attempt.fault.to_string()),
            "{}: {source}\n  instead of: {}",
            attempt.what,
            attempt.fault
        );
        let told = format!("{denied:?} {} {}", Chain(&denied), denied.public());
        for text in told_apart(attempt) {
            assert!(!told.contains(&text), "{}: `{text}` is told in {told}", attempt.what);
        }
    }
    let log = logged.text();
    assert!(log.contains("TRACE"), "nothing was captured");
    for attempt in &all {
        for text in told_apart(attempt) {
            assert!(!log.contains(&text), "{}: `{text}` was logged", attempt.what);
        }
    }
    assert_eq!(idp.hits("/evil"), 0, "a key that a token named was fetched");
    assert!(idp.hits("/keys") <= 6, "{} fetches", idp.hits("/keys"));
    // The very same claims and keys, with nothing wrong, come in.
    let good =
        ES256.token(&json!({ "alg": "ES256", "kid": "e" }), &claims_with(&idp, json!({ "sub": MARK })));
    show(&identity, &good).await.unwrap();
}
