//! What goes in comes out, for every type a column can have.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};
use trunkline_testkit::postgres;

use crate::tool::{call, connector};

/// Values of a type in PostgreSQL's own notation.
type Literals = BoxedStrategy<String>;

/// How the server tells that two values are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    /// By the type's own equality, and by their text, which tells scales and signs of zero too.
    Equal,
    /// By their text: the type has no equality, or one that compares areas.
    Text,
}

const SCHEMA: &str = "
    create extension hstore; create extension citext; create extension ltree;
    create type mood as enum ('sad', 'it''s \"ok\"', 'a,{b}');
    create domain few as int check (value between -5 and 5);
    create domain code as varchar(8) check (value ~ '^[a-z]+$') check (length(value) > 1);
    create domain side as text check (value in ('left', 'right'));
    create domain grid as int[];
    create type pair as (a int8, gone text, \"b \"\" c\" text, at timestamptz, n numeric, bin bytea, tags text[]);
    alter type pair drop attribute gone;
    create type nest as (one pair, many pair[], m mood, d few, j jsonb, h hstore, r tstzrange);
    create type priced as (price money, n int);
    create type textrange as range (subtype = text);";

// ---- literals ----

fn text() -> Literals {
    "[^\\x00]{0,12}".boxed()
}

fn one_of(words: &[&str]) -> Literals {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    prop::sample::select(words).boxed()
}

/// Mostly the first, and now and then a special word.
fn or(usual: impl Strategy<Value = String> + 'static, words: &[&str]) -> Literals {
    prop_oneof![4 => usual, 1 => one_of(words)].boxed()
}

fn integer<T: std::fmt::Display + Arbitrary>() -> Literals
where
    T::Strategy: 'static,
{
    any::<T>().prop_map(|value| value.to_string()).boxed()
}

fn decimal() -> Literals {
    or(
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?",
        &["NaN", "Infinity", "-Infinity", "0.10", "100000000", "1e-30"],
    )
}

fn double() -> Literals {
    let finite = any::<f64>().prop_filter("finite", |value| value.is_finite());
    or(
        finite.prop_map(|value| format!("{value:e}")),
        &["NaN", "Infinity", "-Infinity", "-0", "0.1", "1e15", "5e-324"],
    )
}

/// A coordinate: its special values have no equal.
fn coordinate() -> Literals {
    or(
        (-1000_i32..1000).prop_map(|value| (f64::from(value) / 8.0).to_string()),
        &["1e20", "-0.0000012", "1e-300"],
    )
}

fn point() -> Literals {
    (coordinate(), coordinate()).prop_map(|(x, y)| format!("({x},{y})")).boxed()
}

fn date() -> Literals {
    let day = (1..=12_u32, 1..=28_u32);
    let common =
        (1..=9999_u32, day.clone()).prop_map(|(year, (month, day))| format!("{year:04}-{month:02}-{day:02}"));
    let far = (10_000..=294_000_u32, day.clone())
        .prop_map(|(year, (month, day))| format!("{year}-{month:02}-{day:02}"));
    let before =
        (1..=4712_u32, day).prop_map(|(year, (month, day))| format!("{year:04}-{month:02}-{day:02} BC"));
    prop_oneof![6 => common, 1 => far, 1 => before, 1 => one_of(&["2000-02-29", "0005-02-29 BC"])].boxed()
}

fn time() -> Literals {
    let usual = (0..24_u32, 0..60_u32, 0..60_u32, prop_oneof![Just(0), 0..1_000_000_u32]);
    let usual = usual.prop_map(|(hour, minute, second, micros)| {
        format!(
            "{hour:02}:{minute:02}:{second:02}{}",
            if micros == 0 { String::new() } else { format!(".{micros:06}") }
        )
    });
    or(usual, &["24:00:00", "00:00:00.000001"])
}

fn offset() -> Literals {
    or(
        (-15_i32..=15, 0..60_u32).prop_map(|(hours, minutes)| format!("{hours:+03}:{minutes:02}")),
        &["+05:30:15", "-00:00:01", "+00"],
    )
}

fn timestamp() -> Literals {
    let usual = (date(), time()).prop_map(|(date, time)| match date.strip_suffix(" BC") {
        Some(date) => format!("{date} {time} BC"),
        None => format!("{date} {time}"),
    });
    or(usual, &["infinity", "-infinity", "294276-12-31 23:59:59.999999", "4713-01-02 00:00:00 BC"])
}

fn interval() -> Literals {
    let usual = (any::<i16>(), any::<i32>(), any::<i64>());
    let usual = usual.prop_map(|(months, days, micros)| {
        format!("{months} mons {days} days {} microseconds", micros % 1_000_000_000_000_000)
    });
    or(
        usual,
        &[
            "0",
            "-1 year",
            "1 mon -1 day",
            "-0.5 s",
            "-1 day 00:00:01",
            "2147483647 mons",
            "-178000000 years",
            "-1 us",
        ],
    )
}

fn document() -> Literals {
    one_of(&[
        r#"{"z": 9007199254740993, "a": 1.0, "b": [null, "ä\n\"x\\"]}"#,
        "[1.50, {}]",
        "\"text\"",
        "12345678901234567890.123",
        "true",
        "{ }",
    ])
}

fn bytes() -> Literals {
    let bytes = prop::collection::vec(any::<u8>(), 0..9);
    bytes
        .prop_map(|bytes| bytes.iter().fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}")))
        .boxed()
}

fn network() -> Literals {
    let usual =
        (any::<[u8; 4]>(), 0..=32_u8).prop_map(|([a, b, c, d], mask)| format!("{a}.{b}.{c}.{d}/{mask}"));
    or(usual, &["10.0.0.1", "::1", "2001:db8::/32", "::ffff:1.2.3.4/120", "2001:db8::1/64"])
}

fn cidr() -> Literals {
    or(
        any::<[u8; 2]>().prop_map(|[a, b]| format!("{a}.{b}.0.0/16")),
        &["10.0.0.0/8", "::/0", "2001:db8::/32", "1.2.3.4/32"],
    )
}

fn bits(length: std::ops::RangeInclusive<usize>) -> Literals {
    prop::collection::vec(prop::bool::ANY, length)
        .prop_map(|bits| bits.iter().map(|bit| if *bit { '1' } else { '0' }).collect())
        .boxed()
}

fn range<T: Clone + PartialOrd + std::fmt::Debug + 'static>(
    ends: impl Strategy<Value = T> + Clone + 'static,
    write: impl Fn(&T) -> String + 'static,
) -> Literals {
    let ends =
        (prop::option::weighted(0.8, ends.clone()), prop::option::weighted(0.8, ends), any::<[bool; 2]>());
    let usual = ends.prop_map(move |(left, right, [from, to])| {
        let (left, right) = match (&left, &right) {
            (Some(one), Some(other)) if one > other => (right, left),
            _ => (left, right),
        };
        let end = |end: &Option<T>| {
            end.as_ref().map_or_else(String::new, |end| {
                format!("\"{}\"", write(end).replace('\\', "\\\\").replace('"', "\"\""))
            })
        };
        format!(
            "{}{},{}{}",
            if from { '[' } else { '(' },
            end(&left),
            end(&right),
            if to { ']' } else { ')' }
        )
    });
    or(usual, &["empty", "(,)"])
}

fn days() -> Literals {
    range(1..=28_u32, |day| format!("2024-02-{day:02}"))
}

fn seconds(zone: &'static str) -> Literals {
    range(0..60_u32, move |second| format!("2024-02-29 12:34:{second:02}.5{zone}"))
}

fn lexemes() -> Literals {
    let one =
        ("[a-z' \\\\ä]{1,5}", prop::collection::btree_set(1..100_u32, 0..3), one_of(&["", "A", "B", "C"]));
    let one = one.prop_map(|(word, places, weight)| {
        let places: Vec<String> = places.iter().map(|place| format!("{place}{weight}")).collect();
        let word = word.replace('\\', "\\\\").replace('\'', "''");
        format!("'{word}'{}{}", if places.is_empty() { "" } else { ":" }, places.join(","))
    });
    prop::collection::vec(one, 0..4).prop_map(|words| words.join(" ")).boxed()
}

// ---- values made of values ----

fn quoted(text: &str, escape: &str) -> String {
    let escaped = |sign: char| if escape == "\\" { format!("\\{sign}") } else { format!("{sign}{sign}") };
    let text = text.replace('\\', &escaped('\\'));
    format!("\"{}\"", text.replace('"', &escaped('"')))
}

fn braces(items: &[Option<String>], delimiter: &str) -> String {
    let items = items.iter().map(|item| item.as_ref().map_or("NULL".to_owned(), |item| quoted(item, "\\")));
    format!("{{{}}}", items.collect::<Vec<_>>().join(delimiter))
}

fn list(of: Literals) -> Literals {
    prop::collection::vec(prop::option::weighted(0.8, of), 0..4).prop_map(|items| braces(&items, ",")).boxed()
}

fn table(of: Literals) -> Literals {
    let row = prop::collection::vec(prop::option::weighted(0.8, of), 2);
    let rows = prop::collection::vec(row, 1..3);
    rows.prop_map(|rows| {
        format!("{{{}}}", rows.iter().map(|row| braces(row, ",")).collect::<Vec<_>>().join(","))
    })
    .boxed()
}

fn row(fields: Vec<Literals>) -> Literals {
    let fields: Vec<_> = fields.into_iter().map(|field| prop::option::weighted(0.8, field)).collect();
    fields
        .prop_map(|fields| {
            let fields =
                fields.iter().map(|field| field.as_ref().map_or(String::new(), |field| quoted(field, "\"")));
            format!("({})", fields.collect::<Vec<_>>().join(","))
        })
        .boxed()
}

fn map() -> Literals {
    let pairs = prop::collection::btree_map("[^\\x00]{0,6}", prop::option::of("[^\\x00]{0,6}"), 0..4);
    pairs
        .prop_map(|pairs| {
            let pairs = pairs.iter().map(|(key, value)| {
                let value = value.as_ref().map_or("NULL".to_owned(), |value| quoted(value, "\\"));
                format!("{}=>{value}", quoted(key, "\\"))
            });
            pairs.collect::<Vec<_>>().join(",")
        })
        .boxed()
}

fn pair() -> Literals {
    row(vec![integer::<i64>(), text(), timestamp_tz(), decimal(), bytes(), list(text())])
}

fn timestamp_tz() -> Literals {
    timestamp()
        .prop_map(|text| {
            if text.ends_with("BC") {
                text.replace(" BC", "+00 BC")
            } else if text.ends_with('y') {
                text
            } else {
                format!("{text}+00")
            }
        })
        .boxed()
}

fn mood() -> Literals {
    one_of(&["sad", "it's \"ok\"", "a,{b}"])
}

fn few() -> Literals {
    (-5..=5_i32).prop_map(|value| value.to_string()).boxed()
}

/// Every type with its values.
fn types() -> Vec<(&'static str, Literals, Same)> {
    use Same::{Equal, Text};
    let mut types = plain_types();
    types.extend([
        ("int8[]", list(integer::<i64>()), Equal),
        ("int4[]", table(integer::<i32>()), Equal),
        ("text[]", list(text()), Equal),
        ("varchar(12)[]", table(text()), Equal),
        ("numeric[]", list(decimal()), Equal),
        ("float8[]", list(double()), Equal),
        ("bool[]", list(one_of(&["t", "f"])), Equal),
        ("bytea[]", list(bytes()), Equal),
        ("json[]", list(document()), Text),
        ("jsonb[]", list(document()), Equal),
        ("date[]", list(or(date(), &["infinity"])), Equal),
        ("interval[]", list(interval()), Equal),
        ("uuid[]", list(uuid()), Equal),
        ("inet[]", list(network()), Equal),
        ("int4range[]", list(range(-9..9_i32, i32::to_string)), Equal),
        ("point[]", list(point()), Text),
        (
            "box[]",
            prop::collection::vec(
                prop::option::of((point(), point()).prop_map(|(a, b)| format!("{a},{b}"))),
                0..3,
            )
            .prop_map(|items| braces(&items, ";"))
            .boxed(),
            Text,
        ),
        ("money[]", list(integer::<i16>()), Equal),
        ("int2vector", "(-?[1-9]{1,4}( [1-9]{1,4}){0,3})?".boxed(), Equal),
        ("oidvector", "([1-9]{1,8}( [1-9]{1,8}){0,3})?".boxed(), Equal),
        ("mood", mood(), Equal),
        ("mood[]", list(mood()), Equal),
        ("few", few(), Equal),
        ("few[]", list(few()), Equal),
        ("code", "[a-z]{2,8}".boxed(), Equal),
        ("side", one_of(&["left", "right"]), Equal),
        ("grid", list(integer::<i32>()), Equal),
        ("grid[]", list(list(integer::<i32>())), Equal),
        ("pair", pair(), Text),
        ("pair[]", list(pair()), Text),
        ("nest", row(vec![pair(), list(pair()), mood(), few(), document(), map(), seconds("+00")]), Text),
        (
            "nest[]",
            table(row(vec![pair(), list(pair()), mood(), few(), document(), map(), seconds("+00")])),
            Text,
        ),
        ("priced", row(vec![integer::<i16>(), integer::<i32>()]), Text),
        ("priced[]", list(row(vec![integer::<i16>(), integer::<i32>()])), Text),
        ("hstore", map(), Equal),
        ("hstore[]", list(map()), Equal),
        ("citext", text(), Equal),
        ("citext[]", list(text()), Equal),
        ("ltree", "[a-z]{1,4}(\\.[a-z]{1,4}){0,2}".boxed(), Equal),
    ]);
    types
}

fn uuid() -> Literals {
    any::<u128>().prop_map(|value| format!("{value:032x}")).boxed()
}

fn plain_types() -> Vec<(&'static str, Literals, Same)> {
    use Same::{Equal, Text};
    let single =
        any::<f32>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:e}"));
    vec![
        ("bool", one_of(&["t", "f"]), Equal),
        ("int2", integer::<i16>(), Equal),
        ("int4", integer::<i32>(), Equal),
        ("int8", or(integer::<i64>(), &["9007199254740991", "-9007199254740992"]), Equal),
        ("oid", integer::<u32>(), Equal),
        ("float4", or(single, &["NaN", "Infinity", "-0", "0.1"]), Equal),
        ("float8", double(), Equal),
        ("numeric", decimal(), Equal),
        ("numeric(12,3)", "-?[1-9][0-9]{0,6}(\\.[0-9]{1,5})?".boxed(), Equal),
        ("money", "-?[0-9]{1,9}\\.[0-9]{2}".boxed(), Equal),
        ("text", text(), Equal),
        ("varchar(5)", text(), Equal),
        ("char(5)", text(), Equal),
        ("name", text(), Equal),
        ("\"char\"", "[ -~]?".boxed(), Equal),
        ("uuid", uuid(), Equal),
        ("bytea", bytes(), Equal),
        ("json", document(), Text),
        ("jsonb", document(), Equal),
        ("jsonpath", one_of(&["$.a", "$.\"a b\"[*]", "strict $.a.size() > 2"]), Text),
        ("xml", one_of(&["<a/>", "<a b=\"1\">ä &amp;</a>", "text"]), Text),
        ("date", or(date(), &["infinity", "-infinity", "5874897-12-31", "4713-01-01 BC"]), Equal),
        ("time", time(), Equal),
        ("timetz", (time(), offset()).prop_map(|(time, offset)| time + &offset).boxed(), Equal),
        ("timestamp", timestamp(), Equal),
        ("timestamptz", timestamp_tz(), Equal),
        ("interval", interval(), Equal),
        ("inet", network(), Equal),
        ("cidr", cidr(), Equal),
        ("macaddr", one_of(&["08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"]), Equal),
        ("macaddr8", one_of(&["08:00:2b:01:02:03:04:05"]), Equal),
        ("bit(3)", bits(3..=3), Equal),
        ("varbit", bits(0..=20), Equal),
        ("int4range", range(any::<i16>(), i16::to_string), Equal),
        ("int8range", range(any::<i32>(), i32::to_string), Equal),
        ("numrange", range(any::<i16>(), |value| format!("{value}.50")), Equal),
        ("daterange", days(), Equal),
        ("tsrange", seconds(""), Equal),
        ("tstzrange", seconds("+00"), Equal),
        ("textrange", range("[^\\x00]{0,4}", String::clone), Text),
        ("int4multirange", one_of(&["{}", "{[1,3),[5,7)}", "{(,0)}"]), Equal),
        ("tstzmultirange", one_of(&["{[2024-01-01 00:00+00,2024-01-02 00:00+00)}"]), Equal),
        ("tsvector", lexemes(), Equal),
        ("tsquery", one_of(&["'a' & !'b'", "'x':*A | ('y' <-> 'z''s')"]), Equal),
        ("point", point(), Text),
        ("line", one_of(&["{1,-1,0}", "{0.5,2,1e+20}"]), Text),
        ("lseg", (point(), point()).prop_map(|(a, b)| format!("[{a},{b}]")).boxed(), Text),
        ("box", (point(), point()).prop_map(|(a, b)| format!("{a},{b}")).boxed(), Text),
        (
            "path",
            (point(), point(), any::<bool>())
                .prop_map(|(a, b, open)| if open { format!("[{a},{b}]") } else { format!("({a},{b})") })
                .boxed(),
            Text,
        ),
        ("polygon", (point(), point(), point()).prop_map(|(a, b, c)| format!("({a},{b},{c})")).boxed(), Text),
        ("circle", (point(), 0..9_u32).prop_map(|(a, radius)| format!("<{a},{radius}>")).boxed(), Text),
        ("pg_lsn", one_of(&["16/B374D848", "0/0", "FFFFFFFF/FFFFFFFF"]), Equal),
        ("xid", integer::<u32>(), Equal),
        ("xid8", integer::<u64>(), Equal),
        ("tid", one_of(&["(0,1)", "(4294967295,65535)"]), Equal),
        ("regclass", one_of(&["pg_class", "pg_type"]), Equal),
        ("regtype", one_of(&["integer", "mood", "text[]"]), Equal),
    ]
}

#[tokio::test]
async fn what_goes_in_comes_out_for_every_type() {
    let database = postgres::database().await;
    database.run(SCHEMA).await;
    let name = database.url.rsplit('/').next().unwrap();
    database.run(&format!("alter database {name} set timezone = 'America/New_York'")).await;
    let types = types();
    let literal = |at: usize, ty: &str| format!("((:literals::text[])[{}])::{ty}", at + 1);
    let told = types.iter().enumerate().map(|(at, (ty, ..))| format!("{} as c{at}", literal(at, ty)));
    let told = format!("select {}", told.collect::<Vec<_>>().join(", "));
    let compared = types.iter().enumerate().map(|(at, (ty, _, same))| {
        let (one, other) = (literal(at, ty), format!(":c{at}::{ty}"));
        let equal = format!("{one} is not distinct from {other} and ");
        let equal = if *same == Same::Equal { equal } else { String::new() };
        format!("{equal}{one}::text is not distinct from {other}::text as c{at}")
    });
    let compared = format!("select {}", compared.collect::<Vec<_>>().join(", "));
    let mut params = Map::from_iter([("literals".to_owned(), json!({}))]);
    let optional = |at: usize| (format!("c{at}"), json!({ "nullable": true, "required": false }));
    params.extend((0..types.len()).map(optional));
    let tools = [
        ("told", json!({ "sql": told, "params": { "literals": {} } })),
        ("compared", json!({ "sql": compared, "params": params })),
    ];
    let connector = connector(&database.url, &tools).await;
    let schema = connector.definitions()[0].output_schema.clone().unwrap();
    let schema: Json = serde_json::from_str(&schema.to_string()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();

    let strategies: Vec<_> =
        types.iter().map(|(_, literals, _)| prop::option::weighted(0.95, literals.clone())).collect();
    let mut runner = TestRunner::deterministic();
    for _ in 0..40 {
        let literals = strategies.new_tree(&mut runner).unwrap().current();
        let written = json!(literals).to_string();
        let told = call(&connector, 0, &format!("{{\"literals\":{written}}}")).await.unwrap();
        if let Err(error) = validator.validate(&serde_json::from_str(&told).unwrap()) {
            panic!("{error}\n{}: {}", error.instance_path(), error.instance());
        }
        let told: Told = serde_json::from_str(&told).unwrap();
        let mut arguments = told.rows[0].clone();
        arguments.insert("literals".to_owned(), RawValue::from_string(written).unwrap());
        let arguments = serde_json::to_string(&arguments).unwrap();
        let compared = match call(&connector, 1, &arguments).await {
            Ok(compared) => compared,
            Err(error) => panic!("{error}\n{arguments}"),
        };
        let compared: Json = serde_json::from_str(&compared).unwrap();
        for (at, (ty, ..)) in types.iter().enumerate() {
            let name = format!("c{at}");
            let (same, told) = (&compared["rows"][0][&name], &told.rows[0][&name]);
            let sent = &literals[at];
            assert_eq!(*same, json!(true), "{ty} {sent:?} came as {told} and went back as another value");
        }
    }
}

/// A result whose cells are kept to the letter.
#[derive(serde::Deserialize)]
struct Told {
    rows: Vec<BTreeMap<String, Box<RawValue>>>,
}
