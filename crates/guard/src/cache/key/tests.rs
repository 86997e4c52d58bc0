//! Keys: what has to make them equal, and what has to make them differ.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use trunkline_protocol::{Revision, scan};
use trunkline_service::Caller;

use super::*;

/// Returns some key.
pub(crate) fn key_of(bytes: &[u8]) -> Key {
    Key(sha256(bytes))
}

fn schema() -> Value {
    json!({ "type": "object", "properties": {
        "a": { "type": "string", "default": "é\n" },
        "b": { "type": "integer", "default": 10 },
        "c": { "type": "number" },
        "d": {},
    } })
}

/// What of the caller an answer depends on, in these tests: a claim.
#[derive(Debug)]
struct Region;

impl Binding for Region {
    fn write(&self, request: &Request, out: &mut Vec<u8>) -> bool {
        let region = request.caller().claims.get("region").and_then(Value::as_str);
        out.extend_from_slice(region.unwrap_or_default().as_bytes());
        region.is_some()
    }
}

fn maker(scope: Scope, is_bound: bool) -> KeyMaker {
    let schema = schema();
    let defined = Defined {
        method: Method::ToolsCall,
        name: "t",
        definition: b"select",
        configuration: b"c",
        input_schema: &schema,
        output_schema: None,
        tags: &[],
    };
    // All of a test program share what was asked lately, as all things of a cache do.
    static LATELY: LazyLock<Arc<Lately>> = LazyLock::new(Arc::default);
    let binding = is_bound.then(|| Arc::new(Region) as Arc<dyn Binding>);
    KeyMaker::new(&defined, scope, binding, Arc::clone(&LATELY))
}

fn request(caller: &Arc<Caller>, arguments: &str) -> Request {
    let body = Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{arguments}}}}}"#
    ));
    let (_, envelope) = scan(&body).unwrap();
    Request::new(body, &envelope, Method::ToolsCall, Revision::LATEST, Arc::clone(caller), 1)
}

// ---- arguments and their spellings ----

/// A value as a client may mean it. Numbers are texts: their digits count.
#[derive(Debug, Clone, PartialEq)]
enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("1".to_owned()),
        Just("1.0".to_owned()),
        Just("1e0".to_owned()),
        Just("-0".to_owned()),
        Just("0".to_owned()),
        Just("10.00".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
    ]
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number().prop_map(Json::Number),
        "[a-c\"\\\\/\n\u{1}é😀\u{7f}]{0,3}".prop_map(Json::Text),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![vec(inner.clone(), 0..3).prop_map(Json::List), object(inner).prop_map(Json::Object),]
    })
}

fn object(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Vec<(String, Json)>> {
    prop::collection::btree_map("[a-d\"é]{0,2}", value, 0..3).prop_map(|map| map.into_iter().collect())
}

fn arguments() -> impl Strategy<Value = Vec<(String, Json)>> {
    prop::collection::btree_map("[a-e]", value(), 0..5).prop_map(|map| map.into_iter().collect())
}

/// Chooses between ways to write the same: one bit after the other of a text that proptest shrinks.
struct Choices<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Choices<'_> {
    fn below(&mut self, count: usize) -> usize {
        usize::from(*self.0.next().unwrap()) % count
    }

    fn space(&mut self, out: &mut String) {
        out.push_str(["", " ", "\n\t", ""][self.below(4)]);
    }

    fn text(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            let must = matches!(character, '"' | '\\') || character < ' ';
            match self.below(3) {
                0 if !must => out.push(character),
                1 if matches!(character, '"' | '\\' | '/') => {
                    out.push('\\');
                    out.push(character);
                }
                1 if character == '\n' => out.push_str("\\n"),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        let written = if self.below(2) == 0 {
                            format!("\\u{unit:04x}")
                        } else {
                            format!("\\u{unit:04X}")
                        };
                        out.push_str(&written);
                    }
                }
            }
        }
        out.push('"');
    }

    fn value(&mut self, value: &Json, out: &mut String) {
        self.space(out);
        match value {
            Json::Null => out.push_str("null"),
            Json::Bool(is) => out.push_str(if *is { "true" } else { "false" }),
            Json::Number(digits) => out.push_str(digits),
            Json::Text(text) => self.text(text, out),
            Json::List(list) => {
                out.push('[');
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    self.value(value, out);
                }
                out.push(']');
            }
            Json::Object(members) => self.object(members, out),
        }
        self.space(out);
    }

    fn object(&mut self, members: &[(String, Json)], out: &mut String) {
        let mut left: Vec<_> = members.iter().collect();
        out.push('{');
        let mut is_first = true;
        while !left.is_empty() {
            let (key, value) = left.remove(self.below(left.len()));
            if !std::mem::take(&mut is_first) {
                out.push(',');
            }
            self.space(out);
            self.text(key, out);
            self.space(out);
            out.push(':');
            self.value(value, out);
        }
        out.push('}');
    }
}

/// Writes the arguments in one of their spellings: order, white space, escapes, defaults left out or written, notations of integers.
fn spelt(arguments: &[(String, Json)], choices: &[u8]) -> String {
    let mut choices = Choices(choices.iter().cycle());
    let mut members = meant(arguments);
    if choices.below(2) == 0 {
        members.retain(|member| *member != default_a() && *member != default_b());
    }
    for (key, value) in &mut members {
        if key == "b"
            && let Json::Number(digits) = value
            && !digits.contains(['.', 'e', 'E', '-'])
            && digits.len() < 15
        {
            match choices.below(3) {
                0 => digits.push_str(".0"),
                1 if digits != "0" => digits.push_str("00e-2"),
                _ => {}
            }
        }
    }
    let mut out = String::new();
    choices.object(&members, &mut out);
    out
}

fn default_a() -> (String, Json) {
    ("a".to_owned(), Json::Text("é\n".to_owned()))
}

fn default_b() -> (String, Json) {
    ("b".to_owned(), Json::Number("10".to_owned()))
}

/// What arguments mean: with defaults, and whole numbers as integers where the schema has one. Worked out here by other means.
fn meant(arguments: &[(String, Json)]) -> Vec<(String, Json)> {
    let mut meant = arguments.to_vec();
    for default in [default_a(), default_b()] {
        if !meant.iter().any(|(key, _)| *key == default.0) {
            meant.push(default);
        }
    }
    for (key, value) in &mut meant {
        if key == "b"
            && let Json::Number(digits) = value
            && digits.contains(['.', 'e', 'E'])
            && let Some(whole) = whole_of(digits)
        {
            *digits = whole;
        }
    }
    meant.sort_by(|left, right| left.0.cmp(&right.0));
    meant
}

/// Returns a number that is whole and small as an integer, by floating point.
fn whole_of(digits: &str) -> Option<String> {
    let number: f64 = digits.parse().ok()?;
    // Beyond this, doubles are not exact, and such numbers are left out of the test of equality.
    let is_small =
        number.abs() < 1e15 && number.fract() == 0.0 && !(number == 0.0 && digits.starts_with('-'));
    is_small.then(|| format!("{number:.0}"))
}

/// Whether the integer among the arguments is one that both ways to read it are sure of.
fn is_sure(arguments: &[(String, Json)]) -> bool {
    arguments.iter().all(|(key, value)| match value {
        Json::Number(digits) if key == "b" => {
            let significant = digits.split(['e', 'E']).next().unwrap_or_default().len();
            let number: f64 = digits.parse().unwrap();
            significant < 15 && number.abs() < 1e15 && (number == 0.0 || number.abs() > 1e-12)
        }
        _ => true,
    })
}

// ---- callers ----

fn callers() -> impl Strategy<Value = Arc<Caller>> {
    let role = prop_oneof![Just("a"), Just("b"), Just("ab")];
    let name = prop_oneof![Just(""), Just("x"), Just("xy"), Just("y")];
    let region = prop::option::of(prop_oneof![Just("north"), Just("south")]);
    (prop::option::of(name.clone()), name, vec(role, 0..3), region, any::<bool>()).prop_map(
        |(issuer, subject, roles, region, is_local)| {
            let mut caller = Caller {
                issuer: issuer.map(Into::into),
                subject: subject.into(),
                roles: roles.into_iter().map(Into::into).collect(),
                is_local,
                ..Caller::default()
            };
            if let Some(region) = region {
                caller.claims.insert("region".into(), region.into());
            }
            Arc::new(caller)
        },
    )
}

/// Everything of a caller that an answer may depend on in that scope.
fn sees(scope: Scope, is_bound: bool, caller: &Caller) -> String {
    let mut roles = caller.roles.clone();
    roles.sort();
    roles.dedup();
    let shared = match scope {
        Scope::Caller => format!("{:?}", caller.identity()),
        Scope::Role => format!("{:?} {}", roles, caller.is_local),
        Scope::Public => String::new(),
    };
    let bound = if is_bound { caller.claims.get("region").map(Value::to_string) } else { None };
    format!("{shared} {bound:?}")
}

/// What a tool would answer: all that it may look at, the arguments as the service is given them.
fn answer(maker: &KeyMaker, is_bound: bool, caller: &Arc<Caller>, arguments: &str) -> Option<(Key, String)> {
    let mut asked = request(caller, arguments);
    let made = maker.make(&asked)?;
    if !made.as_it_was {
        maker.spell(&mut asked);
    }
    let given = String::from_utf8(asked.arguments().to_vec()).unwrap();
    Some((made.key, format!("{} {given}", sees(maker.scope(), is_bound, caller))))
}

fn scopes() -> impl Strategy<Value = Scope> {
    prop_oneof![Just(Scope::Caller), Just(Scope::Role), Just(Scope::Public)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn spellings_of_one_question_have_one_key(
        scope in scopes(), caller in callers(), arguments in arguments(), one in vec(any::<u8>(), 1..40), other in vec(any::<u8>(), 1..40),
    ) {
        prop_assume!(is_sure(&arguments));
        let maker = maker(scope, false);
        let [one, other] = [one, other].map(|choices| spelt(&arguments, &choices));
        let [one_key, other_key] = [&one, &other].map(|text| maker.make(&request(&caller, text)).unwrap().key);
        prop_assert_eq!(one_key, other_key, "{} {}", one, other);
    }

    #[test]
    fn equal_keys_have_equal_answers_and_other_answers_other_keys(
        scope in scopes(), is_bound in any::<bool>(), asked in vec((callers(), arguments(), vec(any::<u8>(), 1..20)), 2..12),
    ) {
        let maker = maker(scope, is_bound);
        let mut known: HashMap<[u8; 32], String> = HashMap::new();
        let mut answers: HashMap<String, [u8; 32]> = HashMap::new();
        for (caller, arguments, choices) in &asked {
            let text = spelt(arguments, choices);
            let Some((key, answer)) = answer(&maker, is_bound, caller, &text) else {
                // Only what cannot be told is nobody's.
                prop_assert!(is_bound && !caller.claims.contains_key("region"));
                continue;
            };
            let before = known.insert(*key.bytes(), answer.clone());
            prop_assert!(before.is_none_or(|before| before == answer), "{}", answer);
            let before = answers.insert(answer.clone(), *key.bytes());
            prop_assert!(before.is_none_or(|before| before == *key.bytes()), "{}", answer);
        }
    }

    #[test]
    fn what_the_service_is_given_means_what_was_sent(arguments in arguments(), choices in vec(any::<u8>(), 1..40)) {
        prop_assume!(is_sure(&arguments));
        let caller = Caller::local();
        let text = spelt(&arguments, &choices);
        let (maker, mut asked) = (maker(Scope::Public, false), request(&caller, &text));
        let made = maker.make(&asked).unwrap();
        maker.spell(&mut asked);
        let given = asked.arguments();
        let mut plain = String::new();
        // In order, without white space, escaped only where JSON wants it.
        Choices([0].iter().cycle()).object(&meant(&arguments), &mut plain);
        let read = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
        prop_assert_eq!(read(given), read(plain.as_bytes()));
        let spelt_again = String::from_utf8(given.to_vec()).unwrap();
        let again = maker.make(&request(&caller, &spelt_again)).unwrap();
        prop_assert!(again.as_it_was && again.key == made.key);
    }
}

#[test]
fn everything_that_defines_a_tool_is_in_its_keys() {
    let (schema, other) = (schema(), json!({ "properties": { "b": { "default": 11 } } }));
    let tags: [Box<str>; 2] = ["ab".into(), "c".into()];
    let moved: [Box<str>; 2] = ["a".into(), "bc".into()];
    let defined = Defined {
        method: Method::ToolsCall,
        name: "t",
        definition: b"ab",
        configuration: b"c",
        input_schema: &schema,
        output_schema: None,
        tags: &tags,
    };
    let all = [
        defined,
        Defined { method: Method::ResourcesRead, ..defined },
        Defined { name: "u", ..defined },
        Defined { definition: b"a", configuration: b"bc", ..defined },
        Defined { input_schema: &other, ..defined },
        Defined { output_schema: Some(&other), ..defined },
        Defined { tags: &moved, ..defined },
    ];
    let scopes = [Scope::Caller, Scope::Role, Scope::Public];
    let mut bases: Vec<[u8; 32]> =
        all.iter().map(|one| KeyMaker::new(one, Scope::Public, None, Arc::default()).base).collect();
    bases.extend(
        scopes.map(|scope| KeyMaker::new(&defined, scope, None, Arc::default()).base).into_iter().take(2),
    );
    let count = bases.len();
    bases.sort_unstable();
    bases.dedup();
    assert_eq!(bases.len(), count);
}
