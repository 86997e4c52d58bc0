//! Whether some URI of a template may be read: a search through the product of the template, a glob that allows, the globs that
//! deny, and the rules of spelling, over symbols that stand for all URIs.
//!
//! It is exact up to spelling: no variable is tried with an escaped `%`. It is bounded; where the bound is met the answer is
//! no, and nothing is then read through the template either, since who reads asks for the template too.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;
use trunkline_protocol::uri_template::{Shape, UriTemplate};

use super::glob::Glob;
use super::uri;

/// Most states that are looked at.
const MAX_STATES: usize = 20_000;

/// Tells whether a URI exists that is an instance of the template, fits `allow` and none of `deny`.
pub(crate) fn exists(template: &UriTemplate, allow: &Glob, deny: &[&Glob]) -> bool {
    Search::new(template, allow, deny).is_some_and(|search| search.run())
}

/// One character of a canonical URI, or the escapes of one.
type Symbol = Box<str>;

/// A part of the template.
#[derive(Debug)]
enum Part {
    Literal(Vec<Symbol>),
    Variable { lead: Option<Symbol>, reserved: bool },
    Query { lead: Symbol, names: Vec<Vec<Symbol>> },
}

#[derive(Debug)]
struct Search {
    parts: Vec<Part>,
    allow: Vec<Step>,
    deny: Vec<Vec<Step>>,
    alphabet: Vec<Symbol>,
}

/// Where everything stands after the symbols so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    at: At,
    allow: usize,
    deny: Positions,
    /// The same for a reader who decodes slashes and skips empty segments.
    loose: Positions,
    spelling: Spelling,
}

impl Search {
    /// `None` for a template that is not spelled canonically: no URI that is read fits it.
    fn new(template: &UriTemplate, allow: &Glob, deny: &[&Glob]) -> Option<Self> {
        let parts: Vec<Part> = template.shapes().map(Part::of).collect::<Option<_>>()?;
        let mut seen: BTreeSet<Symbol> = ["/", "?", "#", "&", "=", ".", ":"].map(Symbol::from).into();
        for glob in deny.iter().copied().chain([allow]) {
            seen.extend(symbols(glob.as_str()).into_iter().filter(|symbol| &**symbol != "*"));
        }
        for part in &parts {
            match part {
                Part::Literal(symbols) => seen.extend(symbols.iter().cloned()),
                Part::Variable { lead, .. } => seen.extend(lead.clone()),
                Part::Query { lead, names } => seen.extend(names.iter().flatten().chain([lead]).cloned()),
            }
        }
        // What nobody names behaves alike: one character stands for all, one that schemes may have if there is any.
        let unnamed = ('a'..='z').chain('0'..='9').chain('A'..='Z').chain("-_~!$'()+,;@[]*".chars());
        let unnamed =
            unnamed.map(|letter| Symbol::from(letter.to_string())).find(|symbol| !seen.contains(symbol));
        seen.extend(unnamed);
        let is_readable = |symbol: &Symbol| !symbol.starts_with('%') || is_one_character(symbol);
        let alphabet = seen.into_iter().filter(is_readable).collect();
        let deny = deny.iter().map(|glob| steps(glob)).collect();
        Some(Self { parts, allow: steps(allow), deny, alphabet })
    }

    fn run(&self) -> bool {
        let mut known = FxHashSet::default();
        let mut open = vec![self.start()];
        while let Some(state) = open.pop() {
            if self.is_end(&state) {
                return true;
            }
            for (_, next) in self.next(&state) {
                if known.len() >= MAX_STATES {
                    return false;
                }
                if known.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        false
    }

    fn start(&self) -> State {
        let deny = self.settled((0..self.deny.len()).map(|glob| (glob, 0)).collect());
        let spelling = Spelling::Scheme { first: true };
        State { at: At::default(), allow: 0, loose: deny.clone(), deny, spelling }
    }

    fn is_end(&self, state: &State) -> bool {
        self.reached(state.at).iter().any(|at| self.may_end(*at))
            && self.allowed_from(state.allow).any(|at| at == self.allow.len())
            && !self.is_denied(state)
            && state.spelling.may_end()
    }

    fn is_denied(&self, state: &State) -> bool {
        let fits = |(glob, at): &(usize, usize)| self.deny.get(*glob).is_some_and(|steps| *at == steps.len());
        state.deny.iter().any(fits) || state.loose.iter().any(fits)
    }

    /// The states that may come next, each with the symbol that leads there.
    fn next(&self, state: &State) -> Vec<(&str, State)> {
        let mut all = Vec::new();
        for at in self.reached(state.at) {
            for (symbol, at) in self.read(at) {
                let mut states = Vec::new();
                self.follow(state, at, symbol, &mut states);
                all.extend(states.into_iter().map(|state| (symbol, state)));
            }
        }
        all
    }

    /// Adds the states that one symbol leads to.
    fn follow(&self, state: &State, at: At, symbol: &str, all: &mut Vec<State>) {
        // A rule denies whatever query or fragment follows what it denies.
        if state.spelling.ends_before(symbol) && self.is_denied(state) {
            return;
        }
        let Some((spelling, loosely)) = state.spelling.read(symbol) else { return };
        let (Some(deny), Some(loose)) =
            (self.denied_by(&state.deny, symbol), self.denied_by(&state.loose, loosely))
        else {
            return;
        };
        let mut allowed: BTreeSet<usize> = [state.allow].into();
        for byte in symbol.bytes() {
            allowed = allowed
                .into_iter()
                .flat_map(|at| self.allowed_from(at))
                .filter_map(|at| match self.allow.get(at)? {
                    Step::Any => Some(at),
                    Step::Is(wanted) => (*wanted == byte).then_some(at + 1),
                })
                .collect();
        }
        let state = |allow| State { at, allow, deny: deny.clone(), loose: loose.clone(), spelling };
        all.extend(allowed.into_iter().map(state));
    }

    fn allowed_from(&self, at: usize) -> impl Iterator<Item = usize> {
        let stars =
            self.allow.get(at..).unwrap_or_default().iter().take_while(|step| **step == Step::Any).count();
        at..=at + stars
    }

    /// Follows the globs that deny; `None` when one of them fits whatever comes.
    fn denied_by(&self, positions: &Positions, text: &str) -> Option<Positions> {
        let mut now = positions.clone();
        for byte in text.bytes() {
            let moved = now.iter().filter_map(|(glob, at)| match self.deny.get(*glob)?.get(*at)? {
                Step::Any => Some((*glob, *at)),
                Step::Is(wanted) => (*wanted == byte).then_some((*glob, *at + 1)),
            });
            now = self.settled(moved.collect());
        }
        let fits_all = |(glob, at): &(usize, usize)| {
            self.deny
                .get(*glob)
                .is_some_and(|steps| at + 1 == steps.len() && steps.last() == Some(&Step::Any))
        };
        (!now.iter().any(fits_all)).then_some(now)
    }

    /// Adds where stars may end, and drops what a later star of the same glob covers.
    fn settled(&self, mut positions: Positions) -> Positions {
        for (glob, at) in positions.clone() {
            let steps = self.deny.get(glob).and_then(|steps| steps.get(at..)).unwrap_or_default();
            let stars = steps.iter().take_while(|step| **step == Step::Any).count();
            positions.extend((at..=at + stars).map(|at| (glob, at)));
        }
        let is_star = |(glob, at): &&(usize, usize)| {
            self.deny.get(*glob).and_then(|steps| steps.get(*at)) == Some(&Step::Any)
        };
        let stars: Vec<(usize, usize)> = positions.iter().filter(is_star).copied().collect();
        positions.retain(|(glob, at)| !stars.iter().any(|(other, star)| glob == other && at < star));
        positions
    }
}

// ---- the globs ----

/// A step of a glob: a byte, or anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Is(u8),
    Any,
}

/// The positions in the globs that deny, as far as they can still come to something.
type Positions = BTreeSet<(usize, usize)>;

fn steps(glob: &Glob) -> Vec<Step> {
    glob.as_str().bytes().map(|byte| if byte == b'*' { Step::Any } else { Step::Is(byte) }).collect()
}

/// Takes a canonical text apart into characters and the escapes of characters.
fn symbols(text: &str) -> Vec<Symbol> {
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let escapes = (1..=4).rev().map(|count| count * 3);
        let escaped = escapes.filter_map(|length| rest.get(..length)).find(|text| is_one_character(text));
        let length = escaped.map_or_else(|| if rest.starts_with('%') { 3 } else { 1 }, str::len);
        let (symbol, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        all.push(symbol.into());
        rest = after;
    }
    all
}

/// Tells whether a text is the escapes of one character that a variable may have.
fn is_one_character(text: &str) -> bool {
    let bytes =
        text.strip_prefix('%').map(|text| text.split('%').map(|digits| u8::from_str_radix(digits, 16)));
    let Some(Ok(bytes)) = bytes.map(|bytes| bytes.collect::<Result<Vec<u8>, _>>()) else { return false };
    std::str::from_utf8(&bytes).is_ok_and(|text| text != "%" && text.chars().count() == 1)
}

// ---- the template ----

/// Where the template stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct At {
    part: usize,
    /// In a literal: symbols that are read. In a variable: 0 before its lead, 1 before its first character, 2 after it. In a
    /// query: 0 before its lead, 1 where a pair may begin, 2 in a value, and from 3 on in a name.
    within: usize,
    /// The name in the query, and those that were used.
    name: usize,
    used: u32,
}

impl Part {
    fn of(shape: Shape<'_>) -> Option<Self> {
        let lead = |letter: char| Symbol::from(letter.to_string());
        Some(match shape {
            Shape::Literal(text) => {
                let mut spelled = String::new();
                uri::spell(text, &mut spelled)?;
                (spelled == text).then(|| Self::Literal(symbols(text)))?
            }
            Shape::Variable { lead: first, reserved } => Self::Variable { lead: first.map(lead), reserved },
            Shape::Query { lead: first, names } => {
                Self::Query { lead: lead(first), names: names.iter().map(|name| symbols(name)).collect() }
            }
        })
    }
}

impl Search {
    /// The places that are reached without another symbol.
    fn reached(&self, at: At) -> Vec<At> {
        let mut all = vec![at];
        if let (Some(Part::Variable { .. }), 2) = (self.parts.get(at.part), at.within) {
            all.extend(self.reached(At { part: at.part + 1, ..At::default() }));
        }
        all
    }

    fn may_end(&self, at: At) -> bool {
        match self.parts.get(at.part) {
            None => true,
            Some(Part::Query { names, .. }) => {
                let is_last = at.part + 1 == self.parts.len();
                let whole = |name: &Vec<Symbol>| at.within == name.len() + 3;
                is_last && (at.within < 3 || names.get(at.name).is_some_and(whole))
            }
            Some(_) => false,
        }
    }

    /// The symbols that may come next, each with the place it leads to.
    fn read(&self, at: At) -> Vec<(&str, At)> {
        let to = |within: usize| At { within, ..at };
        match self.parts.get(at.part) {
            None => Vec::new(),
            Some(Part::Literal(symbols)) => {
                let next = match at.within + 1 == symbols.len() {
                    true => At { part: at.part + 1, ..At::default() },
                    false => to(at.within + 1),
                };
                symbols.get(at.within).map(|symbol| (&**symbol, next)).into_iter().collect()
            }
            Some(Part::Variable { lead: Some(lead), .. }) if at.within == 0 => vec![(lead, to(1))],
            Some(Part::Variable { reserved, .. }) => {
                let fits = |symbol: &&Symbol| *reserved || !matches!(&***symbol, "/" | "?" | "#");
                self.alphabet.iter().filter(fits).map(|symbol| (&**symbol, to(2))).collect()
            }
            Some(Part::Query { lead, names }) => self.read_query(at, lead, names),
        }
    }

    fn read_query<'s>(&'s self, at: At, lead: &'s str, names: &'s [Vec<Symbol>]) -> Vec<(&'s str, At)> {
        let to = |within: usize| At { within, ..at };
        match at.within {
            0 => vec![(lead, to(1))],
            1 => {
                let unused =
                    names.iter().enumerate().filter(|(number, _)| at.used & (1 << (number % 32)) == 0);
                let begun = unused.filter_map(|(number, name)| {
                    let used = at.used | (1 << (number % 32));
                    Some((&**name.first()?, At { within: 4, name: number, used, ..at }))
                });
                begun.chain([("&", to(1))]).collect()
            }
            2 => {
                let value = self.alphabet.iter().filter(|symbol| &***symbol != "&");
                value.map(|symbol| (&**symbol, to(2))).chain([("&", to(1))]).collect()
            }
            _ => match names.get(at.name).and_then(|name| name.get(at.within - 3)) {
                Some(symbol) => vec![(symbol, to(at.within + 1))],
                None => vec![("=", to(2)), ("&", to(1))],
            },
        }
    }
}

// ---- the spelling ----

/// Where the spelling stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Spelling {
    Scheme {
        first: bool,
    },
    /// Behind the colon, after so many slashes.
    Start(u8),
    /// In a segment of the authority.
    Authority(Dots),
    /// In a segment of the path, behind a slash or not.
    Path(Dots, bool),
    Query,
    Fragment,
}

/// What a segment is so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Dots {
    Empty,
    One,
    Two,
    Other,
}

impl Dots {
    fn and(self, symbol: &str) -> Self {
        match (self, symbol) {
            (Self::Empty, ".") => Self::One,
            (Self::One, ".") => Self::Two,
            _ => Self::Other,
        }
    }

    fn is_segment(self) -> bool {
        !matches!(self, Self::One | Self::Two)
    }
}

impl Spelling {
    fn may_end(self) -> bool {
        match self {
            Self::Scheme { .. } => false,
            Self::Start(_) | Self::Query | Self::Fragment => true,
            Self::Authority(dots) | Self::Path(dots, _) => dots.is_segment(),
        }
    }

    /// Tells whether the path, or the query, ends before that symbol.
    fn ends_before(self, symbol: &str) -> bool {
        match symbol {
            "?" => !matches!(self, Self::Query | Self::Fragment),
            "#" => self != Self::Fragment,
            _ => false,
        }
    }

    /// Reads a symbol, and returns what a loose reader reads; `None` where no URI that is read goes on so.
    fn read(self, symbol: &str) -> Option<(Self, &str)> {
        let is_slash = matches!(symbol, "/" | "%2F" | "%5C");
        let path = |dots: Dots, behind_slash: bool| match symbol {
            "?" => dots.is_segment().then_some((Self::Query, symbol)),
            "#" => dots.is_segment().then_some((Self::Fragment, symbol)),
            _ if is_slash => {
                let loosely = if behind_slash && dots == Dots::Empty { "" } else { "/" };
                dots.is_segment().then_some((Self::Path(Dots::Empty, true), loosely))
            }
            _ => Some((Self::Path(dots.and(symbol), behind_slash), symbol)),
        };
        match self {
            Self::Scheme { first } => {
                let letter = symbol.bytes().next().filter(|_| symbol.len() == 1)?;
                let fits = letter.is_ascii_lowercase()
                    || (!first && (letter.is_ascii_digit() || b"+-.".contains(&letter)));
                match letter {
                    b':' if !first => Some((Self::Start(0), symbol)),
                    _ => fits.then_some((Self::Scheme { first: false }, symbol)),
                }
            }
            Self::Start(0) if symbol == "/" => Some((Self::Start(1), symbol)),
            Self::Start(0) => path(Dots::Empty, false),
            Self::Start(1) if symbol == "/" => Some((Self::Authority(Dots::Empty), symbol)),
            Self::Start(_) => path(Dots::Empty, true),
            Self::Authority(dots) => match symbol {
                "/" => dots.is_segment().then_some((Self::Path(Dots::Empty, true), symbol)),
                "?" => dots.is_segment().then_some((Self::Query, symbol)),
                "#" => dots.is_segment().then_some((Self::Fragment, symbol)),
                _ if is_slash => dots.is_segment().then_some((Self::Authority(Dots::Empty), "/")),
                _ => Some((Self::Authority(dots.and(symbol)), symbol)),
            },
            Self::Path(dots, behind_slash) => path(dots, behind_slash),
            Self::Query if symbol == "#" => Some((Self::Fragment, symbol)),
            Self::Query | Self::Fragment => Some((self, symbol)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(template: &str, allow: &str, deny: &[&str], expected: bool) {
        let template = UriTemplate::parse(template).unwrap();
        let deny: Vec<Glob> = deny.iter().map(|glob| Glob::new(glob)).collect();
        let deny: Vec<&Glob> = deny.iter().collect();
        assert_eq!(exists(&template, &Glob::new(allow), &deny), expected, "{template} {allow} {deny:?}");
    }

    #[test]
    fn a_template_is_reached_where_some_uri_of_it_is() {
        check("shop://orders/{id}", "*", &[], true);
        check("shop://orders/{id}", "shop://*", &[], true);
        check("shop://orders/{id}", "shop://orders/7", &[], true);
        check("shop://orders/{id}", "shop://orders/7/items", &[], false);
        check("files://docs/{+path}", "files://docs/a/b/*", &[], true);
        check("shop://orders/{id}", "shop://orders/", &[], false);
        check("shop://orders/{id}", "shop://customers/*", &[], false);
        check("shop://{table}/{id}", "shop://*/x*y*z", &[], true);
        check("shop://orders/{id}", "SHOP://orders/*", &[], false);
    }

    #[test]
    fn what_is_denied_reaches_nothing_and_what_is_left_does() {
        check("shop://orders/{id}", "*", &["*"], false);
        check("shop://orders/{id}", "*", &["shop://orders/*"], false);
        check("shop://orders/{id}", "*", &["shop://orders/7*"], true);
        check("shop://orders/{id}", "shop://orders/7", &["shop://orders/7"], false);
        check("shop://orders/{id}", "shop://orders/7*", &["shop://orders/7"], true);
        check("shop://orders/{id}", "shop://orders/7*", &["shop://orders/7", "shop://orders/7*7"], true);
        check("shop://orders/{id}", "shop://orders/*7", &["*7"], false);
        check("shop://orders/{id}{?full}", "shop://orders/7?full*", &["shop://orders/7"], false);
        check("shop://orders/{id}{?full}", "shop://orders/7?full*", &["shop://orders/8"], true);
    }

    #[test]
    fn no_uri_is_found_that_would_not_be_read() {
        check("files://docs/{+path}", "files://docs/..*", &[], true);
        check("files://docs/{a}/x", "files://docs/.*/x", &["files://docs/.?*"], true);
        check("files://{a}", "files://.", &[], false);
        check("files://docs/{path}/..", "*", &[], false);
        check("files://docs/{path}/x", "files://docs/*/../x", &[], false);
        check("{+any}", "*", &[], true);
        check("{any}", "*", &[], true);
        check("{any}", "nothing", &[], false);
        check("files://docs/\u{e9}/{x}", "*", &[], false);
        check("FILES://docs/{x}", "*", &[], false);
        // A loose reader would read what is denied.
        check("files://docs/{x}", "files://docs/secret%2F*", &["files://docs/secret/*"], false);
        check("files://docs/{x}", "files://docs/secret%2F*", &["files://docs/other/*"], true);
        check("files://docs/{+x}", "files://docs//secret/*", &["files://docs/secret/*"], false);
        check("files:///docs/{+x}", "files:///docs//a", &["files:///docs/a"], false);
    }

    #[test]
    fn queries_and_escapes_are_followed() {
        check("x://s{?q,n}", "x://s", &[], true);
        check("x://s{?q,n}", "x://s?n=1&q=2", &[], true);
        check("x://s{?q,n}", "x://s?n=1&n=2", &[], false);
        check("x://s{?q,n}", "x://s?m=1", &[], false);
        check("x://s{?q}/more", "*", &[], false);
        check("x://s/{a}", "x://s/%C3%A9*", &[], true);
        check("x://s/{a}", "x://s/%20*", &[], true);
        check("x://s/{a}", "x://s/%C3/*", &[], false);
        check("x://s/{a}{.ext}", "x://s/*.md", &["*.m*"], false);
        check("x:/{/a,b}", "x:/*/*", &[], true);
    }

    #[test]
    fn a_search_that_grows_without_end_is_given_up() {
        let many: Vec<String> = (0..60).map(|number| format!("*{number}*{number}*{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let started = std::time::Instant::now();
        let template = UriTemplate::parse("x://{+a}").unwrap();
        let globs: Vec<Glob> = many.iter().map(|glob| Glob::new(glob)).collect();
        exists(&template, &Glob::new("x://*zz"), &globs.iter().collect::<Vec<_>>());
        assert!(started.elapsed().as_secs() < 10);
    }

    /// A URI that the search comes upon.
    fn witness(search: &Search) -> Option<String> {
        let mut known = FxHashSet::default();
        let mut open = vec![(search.start(), String::new())];
        while let Some((state, uri)) = open.pop() {
            if search.is_end(&state) {
                return Some(uri);
            }
            let next = search.next(&state).into_iter();
            open.extend(next.filter(|(_, state)| known.insert(state.clone())).map(|(symbol, state)| {
                let uri = format!("{uri}{symbol}");
                (state, uri)
            }));
        }
        None
    }

    /// Every URI of a small world.
    fn all(length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..length {
            last = last
                .iter()
                .flat_map(|text| ["a", "/", ".", "%2F", "?", "b"].map(|one| format!("{text}{one}")))
                .collect();
            all.extend(last.iter().cloned());
        }
        all.iter().map(|text| format!("x://{text}")).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Nothing is listed of which nothing may be read, and nothing is read that is not listed.
        #[test]
        fn it_finds_what_trying_every_uri_finds(
            template in "x://(a|b|/|\\{v\\}|\\{\\+w\\}){1,3}(\\{\\?q\\})?",
            allow in "x://[ab/*?]{0,3}",
            deny in proptest::collection::vec("(x://)?[ab/*?]{1,4}", 0..3),
        ) {
            let Ok(parsed) = UriTemplate::parse(&template) else { return Ok(()) };
            let allow = Glob::new(&allow);
            let deny: Vec<Glob> = deny.iter().map(|glob| Glob::new(glob)).collect();
            let read = |uri: &str| {
                let loose = uri::loosely_read(uri);
                let mut readings = [Some(uri), loose.as_deref()].into_iter().flatten();
                uri::canonical(uri).is_some_and(|canonical| canonical == uri)
                    && parsed.matches(uri).is_some()
                    && allow.matches(uri)
                    && readings.all(|reading| {
                        uri::parts_of(reading).all(|part| deny.iter().all(|glob| !glob.matches(part)))
                    })
            };
            let deny: Vec<&Glob> = deny.iter().collect();
            let listed = exists(&parsed, &allow, &deny);
            if let Some(found) = all(4).into_iter().find(|uri| read(uri)) {
                prop_assert!(listed, "{} may be read", found);
            }
            let witness = Search::new(&parsed, &allow, &deny).and_then(|search| witness(&search));
            prop_assert_eq!(witness.is_some(), listed);
            if let Some(witness) = witness {
                prop_assert!(read(&witness), "{} may not be read", witness);
            }
        }
    }
}
