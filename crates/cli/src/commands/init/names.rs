//! Names of tools and parameters made from names of tables and columns: words, singular and plural, and the form that every
//! client takes.

use std::collections::HashSet;

use aws_lc_rs::digest;

/// The longest name a tool may have.
const LONGEST: usize = 64;

/// A name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// Lower case, joined by `_`; never empty.
    pub(super) joined: String,
    /// Whether letters were lost, so that two names can come to the same words.
    pub(super) is_lossy: bool,
}

/// Takes a name of a table or column apart: `OrderItems`, `order items` and `order-items` are all `order_items`.
pub(super) fn words(name: &str) -> Words {
    let (mut joined, mut is_lossy) = (String::with_capacity(name.len() + 4), false);
    let mut before = '_';
    for (at, character) in name.char_indices() {
        if character.is_ascii_alphanumeric() {
            let next = name.get(at + 1..).and_then(|rest| rest.chars().next());
            let begins = character.is_ascii_uppercase()
                && (before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && next.is_some_and(|next| next.is_ascii_lowercase())));
            if begins {
                joined.push('_');
            }
            joined.push(character.to_ascii_lowercase());
        } else {
            is_lossy |= !matches!(character, ' ' | '_' | '-' | '.' | '/' | ':' | '$');
            if !joined.ends_with('_') && !joined.is_empty() {
                joined.push('_');
            }
        }
        before = character;
    }
    while joined.ends_with('_') {
        joined.pop();
    }
    if joined.is_empty() {
        joined.push_str("table");
        is_lossy = true;
    }
    Words { joined, is_lossy }
}

/// Names given so far, each once.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Makes the name of a tool: the verb and the words, with the schema's before them where the name is taken. A name that
    /// lost something ends in `_` and 8 hex digits of the hash of the whole one.
    pub(super) fn tool(&mut self, verb: &str, words: &Words, schema: &str, whole: &str) -> String {
        let plain = format!("{verb}_{}", words.joined);
        let with_schema = format!("{verb}_{}_{}", self::words(schema).joined, words.joined);
        let choices = [Some(plain.clone()), (!schema.is_empty()).then_some(with_schema)];
        if !words.is_lossy {
            for name in choices.into_iter().flatten() {
                if name.len() <= LONGEST && self.0.insert(name.clone()) {
                    return name;
                }
            }
        }
        let mut salt = 0_u32;
        loop {
            let name = hashed(
                &plain,
                &format!("{verb} {whole}{}", if salt == 0 { String::new() } else { salt.to_string() }),
            );
            if self.0.insert(name.clone()) {
                return name;
            }
            salt += 1;
        }
    }
}

/// Ends a name in 8 hex digits of the hash of what it stands for.
fn hashed(name: &str, whole: &str) -> String {
    let hash = digest::digest(&digest::SHA256, whole.as_bytes());
    let digits: String = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = name.chars().take(LONGEST - 9).collect();
    format!("{}_{digits}", kept.trim_end_matches('_'))
}

/// Makes the names of parameters of one tool from the columns they are compared with, in order and each once.
pub(super) fn parameters(columns: &[&str]) -> Vec<String> {
    let mut taken = HashSet::new();
    let named = columns.iter().enumerate().map(|(at, column)| {
        let fits = column.len() <= LONGEST
            && column.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && column.bytes().next().is_some_and(|first| !first.is_ascii_digit());
        let words = words(column);
        let made = if fits { (*column).to_owned() } else { words.joined };
        let is_name = !made.starts_with(|first: char| first.is_ascii_digit()) && made.len() <= LONGEST;
        if (fits || !words.is_lossy) && is_name && taken.insert(made.clone()) {
            return made;
        }
        let number = format!("key_{}", at + 1);
        taken.insert(number.clone());
        number
    });
    named.collect()
}

/// Returns the words with the last one in the plural: `customer` becomes `customers`, `customers` stays.
pub(super) fn plural(words: &str) -> String {
    last_word(words, |word| {
        if is_uncountable(word) || is_plural(word) || word.len() < 3 {
            return word.to_owned();
        }
        if let Some((_, many)) = IRREGULAR.iter().find(|(one, _)| *one == word) {
            return (*many).to_owned();
        }
        let before_y = word.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']));
        match before_y {
            Some(stem) if !stem.is_empty() => format!("{stem}ies"),
            _ if word.ends_with(['s', 'x', 'z']) || word.ends_with("ch") || word.ends_with("sh") => {
                format!("{word}es")
            }
            _ => format!("{word}s"),
        }
    })
}

/// Returns the words with the last one in the singular: `customers` becomes `customer`, `status` stays.
pub(super) fn singular(words: &str) -> String {
    last_word(words, |word| {
        if is_uncountable(word) {
            return word.to_owned();
        }
        if let Some((one, _)) = IRREGULAR.iter().find(|(_, many)| *many == word) {
            return (*one).to_owned();
        }
        if !is_plural(word) {
            return word.to_owned();
        }
        if let Some(stem) =
            word.strip_suffix("ies").filter(|stem| stem.len() > 1 && !KEEPS_IE.contains(&word))
        {
            return format!("{stem}y");
        }
        let has_es = ["sses", "shes", "ches", "xes", "zzes"].iter().any(|end| word.ends_with(end))
            || LOSES_ES.contains(&word);
        let stem = if has_es { word.strip_suffix("es") } else { word.strip_suffix('s') };
        stem.unwrap_or(word).to_owned()
    })
}

fn last_word(words: &str, change: impl Fn(&str) -> String) -> String {
    match words.rsplit_once('_') {
        Some((before, last)) => format!("{before}_{}", change(last)),
        None => change(words),
    }
}

fn is_plural(word: &str) -> bool {
    IRREGULAR.iter().any(|(_, many)| *many == word)
        || (word.len() > 2
            && word.ends_with('s')
            && !["ss", "us", "is"].iter().any(|end| word.ends_with(end)))
}

fn is_uncountable(word: &str) -> bool {
    UNCOUNTABLE.contains(&word)
}

const IRREGULAR: &[(&str, &str)] = &[
    ("person", "people"),
    ("child", "children"),
    ("man", "men"),
    ("woman", "women"),
    ("index", "indices"),
    ("matrix", "matrices"),
    ("analysis", "analyses"),
    ("basis", "bases"),
    ("crisis", "crises"),
    ("criterion", "criteria"),
    ("shelf", "shelves"),
    ("leaf", "leaves"),
    ("half", "halves"),
];

const UNCOUNTABLE: &[&str] = &[
    "data",
    "news",
    "info",
    "information",
    "staff",
    "equipment",
    "media",
    "metadata",
    "history",
    "series",
    "species",
    "feedback",
    "money",
    "stock",
    "inventory",
    "software",
    "hardware",
    "sms",
    "gps",
    "dns",
    "aws",
    "cms",
];

/// Plurals in `-ies` whose singular ends in `-ie`.
const KEEPS_IE: &[&str] = &["movies", "cookies", "ties", "pies", "zombies", "calories"];

/// Plurals whose singular ends in a single `s` or `z`.
const LOSES_ES: &[&str] = &[
    "statuses", "buses", "viruses", "bonuses", "campuses", "censuses", "aliases", "biases", "canvases",
    "gases", "atlases", "quizes",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_into_words() {
        for (name, joined, is_lossy) in [
            ("customers", "customers", false),
            ("OrderItems", "order_items", false),
            ("order items", "order_items", false),
            ("HTTPRequests", "http_requests", false),
            ("a--b__c", "a_b_c", false),
            ("größe", "gr_e", true),
            ("表", "table", true),
            ("", "table", true),
            ("2024 sales", "2024_sales", false),
            ("say \"hi\"", "say_hi", true),
        ] {
            assert_eq!(words(name), Words { joined: joined.to_owned(), is_lossy }, "{name}");
        }
    }

    #[test]
    fn one_and_many_are_told_apart() {
        for (one, many) in [
            ("customer", "customers"),
            ("category", "categories"),
            ("address", "addresses"),
            ("status", "statuses"),
            ("box", "boxes"),
            ("person", "people"),
            ("day", "days"),
            ("movie", "movies"),
            ("branch", "branches"),
            ("house", "houses"),
            ("order_item", "order_items"),
            ("news", "news"),
            ("analysis", "analyses"),
        ] {
            assert_eq!((singular(many).as_str(), plural(one).as_str()), (one, many));
            assert_eq!((singular(one).as_str(), plural(many).as_str()), (one, many));
        }
    }

    #[test]
    fn every_tool_has_a_name_of_its_own_that_clients_take() {
        let mut names = Names::default();
        let long = "x".repeat(70);
        let tables = [
            ("", "customers"),
            ("sales", "customers"),
            ("sales", "Customers"),
            ("a", "größe"),
            ("b", "größe"),
            ("", &long),
        ];
        let made: Vec<String> = tables
            .iter()
            .map(|(schema, name)| names.tool("search", &words(name), schema, &format!("{schema}.{name}")))
            .collect();
        assert_eq!(made[0], "search_customers");
        assert_eq!(made[1], "search_sales_customers");
        assert!(made[2].starts_with("search_customers_"), "{made:?}");
        assert_ne!(made[3], made[4]);
        assert_eq!(made[5].len(), 64);
        assert_eq!(
            made[5],
            Names::default().tool("search", &words(&long), "", &format!(".{long}")),
            "it is the same again"
        );
    }

    #[test]
    fn parameters_are_named_after_columns_where_that_is_a_name() {
        assert_eq!(parameters(&["id", "Order No", "größe", "1st"]), ["id", "order_no", "key_3", "key_4"]);
        assert_eq!(parameters(&["a b", "a_b"]), ["a_b", "key_2"]);
    }
}
