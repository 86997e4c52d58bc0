//! Where a named field stands: paths like `rows.*.ssn`, all of them followed at once.
//!
//! A path is names joined by dots; `*` is any member or element. `ssn` alone and a path that begins with `*.` are looked for at
//! every depth, any other from the top. A name with a dot or a star in it is written in quotes: `rows.*."a.b"`.

use std::ops::BitOr;

use rustc_hash::FxHashMap;

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Two dots, one at an end, or nothing at all.
    #[error("`{0}` has an empty part; write names joined by dots, like `rows.*.ssn`")]
    Empty(String),
    /// A quote that does not end, or has something behind it.
    #[error("`{0}` has a quote that does not enclose a whole name; write it like `rows.*.\"a.b\"`")]
    Quote(String),
    /// A star that is part of a name.
    #[error("`{0}` has a `*` within a name; it stands for a whole member or element")]
    Star(String),
    /// It ends in a star, which would hide everything.
    #[error("`{0}` names no field at its end; write the name of what is to be hidden")]
    NoName(String),
}

/// The paths of one tool, made into one table. At most 120 names and stars together.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    /// What every key takes a step on: the stars.
    any: u128,
    /// What a key takes a step on.
    keys: FxHashMap<Box<str>, u128>,
    /// Where every path begins, and those again that are looked for at every depth.
    start: u128,
    again: u128,
    /// What is reached when a path is complete, and by which of its paths.
    ends: u128,
    /// Of the ends, those whose value is sealed rather than hidden.
    sealed: u128,
    bits: u32,
    texts: Vec<Box<str>>,
}

/// How far the paths have come at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach(u128);

/// What becomes of a value at which paths end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is replaced.
    Hide,
    /// It is sealed for its reader.
    Seal,
}

/// More paths than one tool can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these are more than the {MOST} names that the paths of one tool may have together")]
pub struct TooMany;

const MOST: u32 = 120;

impl Paths {
    /// Adds a path.
    ///
    /// # Errors
    /// [`TooMany`] when there is no room for it.
    pub fn add(&mut self, path: &Path, mark: Mark) -> Result<(), TooMany> {
        let length = u32::try_from(path.parts.len()).map_err(|_| TooMany)?;
        // One more, which is where a path that came to its end stands.
        if self.bits + length + 1 > MOST {
            return Err(TooMany);
        }
        let first = 1_u128 << self.bits;
        self.start |= first;
        if path.anywhere {
            self.again |= first;
        }
        for (at, part) in (self.bits..).zip(&path.parts) {
            match part {
                Some(name) => *self.keys.entry(name.clone()).or_default() |= 1 << at,
                None => self.any |= 1 << at,
            }
        }
        self.bits += length + 1;
        let end = 1_u128 << (self.bits - 1);
        self.ends |= end;
        if mark == Mark::Seal {
            self.sealed |= end;
        }
        self.texts.push(path.text.clone());
        Ok(())
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Returns the paths as they were written.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|text| &**text)
    }

    /// Returns where the paths stand at the top of a value.
    #[must_use]
    pub fn top(&self) -> Reach {
        Reach(self.start)
    }

    /// Returns where they stand at what a key has.
    #[must_use]
    pub fn member(&self, reach: Reach, key: &str) -> Reach {
        if self.bits == 0 {
            return reach;
        }
        let steps = self.any | self.keys.get(key).copied().unwrap_or_default();
        self.step(reach, steps)
    }

    /// Returns where they stand at an element of a list.
    #[must_use]
    pub fn element(&self, reach: Reach) -> Reach {
        self.step(reach, self.any)
    }

    fn step(&self, reach: Reach, steps: u128) -> Reach {
        Reach((reach.0 & steps) << 1 | self.again)
    }

    /// Returns what becomes of the value there. What is to be sealed for one is hidden from none but others.
    #[must_use]
    pub fn mark(&self, reach: Reach) -> Option<Mark> {
        match reach.0 & self.ends {
            0 => None,
            ended if ended & self.sealed != 0 => Some(Mark::Seal),
            _ => Some(Mark::Hide),
        }
    }

    /// Tells whether anything below this place can still be named.
    #[must_use]
    pub fn leads_on(&self, reach: Reach) -> bool {
        reach.0 & !self.ends != 0
    }
}

impl BitOr for Reach {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    text: Box<str>,
    /// `None` for a star.
    parts: Vec<Option<Box<str>>>,
    anywhere: bool,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// [`PathError`] tells what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let (part, after) = match rest.strip_prefix('"') {
                Some(inner) => {
                    let (name, after) =
                        inner.split_once('"').ok_or_else(|| PathError::Quote(text.to_owned()))?;
                    if !(after.is_empty() || after.starts_with('.')) {
                        return Err(PathError::Quote(text.to_owned()));
                    }
                    (Some(name), after)
                }
                None => {
                    let (name, after) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
                    match name {
                        "*" => (None, after),
                        name if name.contains('*') => return Err(PathError::Star(text.to_owned())),
                        name if name.contains('"') => return Err(PathError::Quote(text.to_owned())),
                        name => (Some(name), after),
                    }
                }
            };
            if part == Some("") {
                return Err(PathError::Empty(text.to_owned()));
            }
            parts.push(part.map(Box::from));
            match after.strip_prefix('.') {
                Some(after) => rest = after,
                None => break,
            }
        }
        if parts.last() == Some(&None) {
            return Err(PathError::NoName(text.to_owned()));
        }
        let anywhere = parts.len() == 1 || parts.first() == Some(&None);
        if anywhere && parts.len() > 1 {
            parts.remove(0);
        }
        Ok(Self { text: text.into(), parts, anywhere })
    }

    /// Returns how many names and stars it has.
    #[must_use]
    pub fn names(&self) -> usize {
        self.parts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(all: &[&str]) -> Paths {
        let mut paths = Paths::default();
        all.iter().for_each(|path| paths.add(&Path::parse(path).unwrap(), Mark::Hide).unwrap());
        paths
    }

    /// Steps of a place: `#` for an element.
    fn is_named(paths: &Paths, place: &str) -> bool {
        let step =
            |reach, part: &str| if part == "#" { paths.element(reach) } else { paths.member(reach, part) };
        paths.mark(place.split('/').fold(paths.top(), step)).is_some()
    }

    #[test]
    fn paths_name_what_they_say_and_nothing_else() {
        let one =
            paths(&["rows.*.ssn", "rows.*.address.street", "*.password", "pin", "a.\"b.c\"", "x.*.y.z"]);
        for place in [
            "rows/#/ssn",
            "rows/any/ssn",
            "rows/#/address/street",
            "password",
            "a/b/#/password",
            "q/pin",
            "pin",
            "a/b.c",
            "x/#/y/z",
        ] {
            assert!(is_named(&one, place), "{place}");
        }
        for place in [
            "ssn",
            "rows/ssn",
            "rows/#/#/ssn",
            "row/#/ssn",
            "rows/#/address/city",
            "a/b/c",
            "x/y/z",
            "rows",
            "#/passwords",
        ] {
            assert!(!is_named(&one, place), "{place}");
        }
    }

    #[test]
    fn what_is_no_path_is_told() {
        for bad in ["", ".", "a.", ".a", "a..b", "a.*", "*", "a*.b", "a.\"b", "\"a\"b.c", "a\"b\""] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let mut paths = Paths::default();
        let path = Path::parse("a.b.c.d").unwrap();
        let added = (0..100).take_while(|_| paths.add(&path, Mark::Hide).is_ok()).count();
        assert_eq!(added, 24);
        assert_eq!(paths.add(&path, Mark::Hide), Err(TooMany));
        assert!(is_named(&paths, "a/b/c/d"));
    }
}
