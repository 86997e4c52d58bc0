//! Hostile statements by the thousand. Memory is measured, so this is a process of its own.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use trunkline_sql::scan::{Scanned, tokens};
use trunkline_sql::{Dialect, scan::Token};

const CASES: u64 = 20_000;

/// Statements of both dialects with all that a scanner can trip over.
const STATEMENTS: &[&str] = &[
    "select id, name from customers where name ilike :pattern or id::text = :query limit :limit",
    "select ':a', U&':a', E'\\':a', B'1', $$:a$$, $tag$ :b $$ :c $tag$ from \"odd\"\":b\" -- :a\n, /* /* :b */ */ t",
    "select a[1:2], a[lo:hi], a[:2], f(a := 1, b => :c), d ? 'a', d ?| array[:x], -:c from t limit:n",
    "insert into t(a, b) values (:a, :b) on conflict (a) do update set b = excluded.b returning *;",
    "with recursive c(n) as (select 1 union all select n + 1 from c where n < :most) select sum(n) from c",
    "select [a:b], `c:d`, x'00', json_object('k', :v), it''s @a $b ?1 from main.\"t\" where a -> '$.x:y' = :z",
];

const PIECES: &[&str] = &[
    "'", "\"", "$$", "$a$", "/*", "*/", "--", "\n", "::", ":a", ":b ", ":", "[", "]", "(", ")", "E'\\",
    "U&\"", "`", ";", "?", "?1", "$1", "@x", "\0", "\u{feff}", "é", "🦀", "\u{2028}", " select ", "1e", "0x",
    "\\", "=>", ":=", ",",
];

/// A small generator of numbers, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % sides.max(1)
    }

    fn character(&mut self) -> char {
        let number = u32::try_from(self.throw(0x11_0000)).unwrap();
        let ascii = u32::try_from(self.throw(128)).unwrap();
        char::from_u32(if self.throw(4) == 0 { number } else { ascii }).unwrap_or('\u{fffd}')
    }

    fn arbitrary(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.throw(40) {
            if self.throw(3) == 0 {
                text.push(self.character());
            } else {
                text.push_str(PIECES[self.throw(PIECES.len())]);
            }
        }
        text
    }

    /// A statement with a few places cut out, doubled, or with something put in.
    fn mutated(&mut self) -> String {
        let mut text: Vec<char> = STATEMENTS[self.throw(STATEMENTS.len())].chars().collect();
        for _ in 0..=self.throw(6) {
            let at = self.throw(text.len() + 1);
            let to = (at + self.throw(12)).min(text.len());
            match self.throw(4) {
                0 => drop(text.drain(at..to)),
                1 => {
                    let piece = text[at..to].to_vec();
                    text.splice(at..at, piece);
                }
                2 => drop(text.splice(at..at, PIECES[self.throw(PIECES.len())].chars())),
                _ => {
                    let character = self.character();
                    text.insert(at, character);
                }
            }
        }
        text.into_iter().collect()
    }
}

fn check(sql: &str, dialect: Dialect) {
    let mut last = None;
    for token in tokens(sql, dialect) {
        let (Token::Word { at, .. } | Token::Name { at, .. } | Token::Punctuation { at, .. }) = token else {
            continue;
        };
        assert!(at < sql.len() && last.is_none_or(|last| last < at), "{sql:?}: tokens go back");
        last = Some(at);
    }
    let scanned = match Scanned::parse(sql, dialect) {
        Ok(scanned) => scanned,
        Err(error) => {
            assert!(sql.is_char_boundary(error.offset), "{sql:?}: {error:?}");
            return;
        }
    };
    let rendered = scanned.render();
    if scanned.names.is_empty() {
        assert_eq!(rendered, sql);
    }
    for name in &scanned.names {
        let at = scanned.first_use(name).unwrap();
        assert!(sql[at..].starts_with(&format!(":{name}")), "{sql:?}: `{name}` is not at {at}");
    }
    let mut before = 0;
    for offset in 0..=rendered.len() {
        let source = scanned.source_offset(offset);
        assert!(source <= sql.len() && source >= before, "{sql:?}: {offset} leads to {source}");
        before = source;
    }
    assert_eq!(Scanned::parse(sql, dialect).unwrap(), scanned, "{sql:?}");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The processor time of this thread in milliseconds: other work on the machine does not count.
fn worked_ms() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    status.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_000_000
}

#[test]
fn any_statement_is_scanned_without_panic_in_flat_memory() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut both = |cases: u64| {
        for _ in 0..cases {
            let (arbitrary, mutated) = (dice.arbitrary(), dice.mutated());
            for dialect in [Dialect::Postgres, Dialect::Sqlite] {
                check(&arbitrary, dialect);
                check(&mutated, dialect);
            }
        }
    };
    both(100);
    let (memory, time) = (resident_kib(), worked_ms());
    both(CASES);
    // One long statement of each sort, which must not cost more than its length.
    for piece in PIECES.iter().chain(STATEMENTS) {
        let long = piece.repeat(40_000 / piece.len());
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            assert!(tokens(&long, dialect).count() <= long.len());
            let _ = Scanned::parse(&long, dialect);
        }
    }
    let grown = resident_kib().saturating_sub(memory);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    let worked = worked_ms() - time;
    assert!(worked < 5000, "{worked} ms");
}
