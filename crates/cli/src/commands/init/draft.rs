//! The tools of one table, in SQL: one that searches or lists its rows, and one that gives a single row by its key.

use std::fmt::Write as _;

use trunkline_sql::Dialect;
use trunkline_sql::survey::{ColumnNature, Table, TableColumn};

use super::names::{Names, parameters, plural, singular, words};

/// Most columns of a row that is found by its key.
const MOST_COLUMNS: usize = 100;
/// Most columns of a row in a list, where twenty rows have to fit what a model reads.
const MOST_IN_LIST: usize = 30;
/// Most columns that one search looks through.
const MOST_SEARCHED: usize = 10;
/// Most columns that a list can be narrowed by.
const MOST_FILTERS: usize = 4;
/// Values longer than this many bytes on average are left out of lists.
const WIDE: u32 = 400;
/// Values longer than this are left out altogether: one of them is a whole result.
const TOO_WIDE: u32 = 8000;

/// A tool as it will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) sql: String,
    /// It gives one row, not a list.
    pub(super) gives_row: bool,
    pub(super) params: Vec<Param>,
}

/// A parameter as it will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Param {
    /// What the model gives.
    Given {
        name: String,
        /// What is written as `type`.
        kind: Option<&'static str>,
        description: String,
        /// Further keys, as TOML.
        rest: &'static str,
    },
    /// What an expression gives.
    Computed { name: &'static str, from: &'static str },
}

/// The tools of a table, with what someone should know of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drafts {
    /// The table, for the file: its name and roughly how many rows it has.
    pub(super) about: String,
    /// Columns that no tool gives, each with the reason.
    pub(super) left_out: Vec<String>,
    pub(super) tools: Vec<Draft>,
}

/// Drafts the tools of a table; none when it has nothing that could be shown.
pub(super) fn draft(table: &Table, dialect: Dialect, names: &mut Names) -> Drafts {
    let mut left_out = Vec::new();
    let shown: Vec<&TableColumn> =
        table.columns.iter().filter(|column| may_show(column, &mut left_out)).collect();
    // A key is of use only with all its columns, and none that is a secret.
    let key: Option<Vec<&TableColumn>> =
        table.key.iter().map(|name| shown.iter().copied().find(|column| column.name == *name)).collect();
    let key = key.unwrap_or_default();
    let view = View { table, dialect, shown, key, words: Noun::of(table) };
    let mut tools = Vec::new();
    if let Some(tool) = view.list(names) {
        tools.push(tool);
    }
    if let Some(tool) = view.get(names, &mut left_out) {
        tools.push(tool);
    }
    let rows = match table.rows {
        Some(rows) => format!(", about {} row{}", grouped(rows), if rows == 1 { "" } else { "s" }),
        None => String::new(),
    };
    Drafts { about: format!("{}{rows}", table.full_name()), left_out, tools }
}

/// What is known of a table while its tools are drafted.
struct View<'a> {
    table: &'a Table,
    dialect: Dialect,
    /// In the order of the table.
    shown: Vec<&'a TableColumn>,
    /// Empty where no key is of use.
    key: Vec<&'a TableColumn>,
    words: Noun,
}

/// What a row and several rows are called.
struct Noun {
    one: String,
    many: String,
    is_lossy: bool,
}

impl Noun {
    fn of(table: &Table) -> Self {
        let words = words(&table.name);
        Self { one: singular(&words.joined), many: plural(&words.joined), is_lossy: words.is_lossy }
    }

    /// Returns it for a sentence.
    fn spoken(&self, words: &str, table: &Table) -> String {
        if self.is_lossy { format!("rows of {}", clean(&table.name)) } else { words.replace('_', " ") }
    }
}

impl View<'_> {
    /// A search where there is text to search, else a list.
    fn list(&self, names: &mut Names) -> Option<Draft> {
        let columns = self.listed();
        if columns.is_empty() {
            return None;
        }
        let searched: Vec<&TableColumn> = self.searched();
        let verb = if searched.is_empty() { "list" } else { "search" };
        let name = self.name(verb, &self.words.many, names);
        let many = self.words.spoken(&self.words.many, self.table);
        let exact = if searched.is_empty() { None } else { self.exact() };
        let filters = self.filters();
        let mut sql = self.select(&columns);
        let conditions = self.conditions(&searched, exact, &filters);
        if !conditions.is_empty() {
            let _ = write!(sql, "\nwhere {}", conditions.join("\n  and "));
        }
        let order = self.order();
        if !order.is_empty() {
            let _ = write!(sql, "\norder by {}", wrapped(&order));
        }
        sql.push_str("\nlimit :limit");
        let explains = if self.key.is_empty() { columns.as_slice() } else { &[] };
        let description = self.described(self.purpose(&many, &searched, exact, &filters), explains);
        let mut params = if searched.is_empty() { Vec::new() } else { query(exact, filters.is_empty()) };
        for column in &filters {
            let description = match column.comment.as_deref().map(|comment| shorten(comment, 200)) {
                Some(comment) if !comment.is_empty() => comment,
                _ => format!("Only those of this {}", clean(&column.name)),
            };
            let (name, kind, rest) = (column.name.clone(), column.parameter, "required = false");
            params.push(Param::Given { name, kind, description, rest });
        }
        params.push(Param::Given {
            name: "limit".to_owned(),
            kind: None,
            description: format!("The most {many} to return"),
            rest: "default = 20, minimum = 1, maximum = 100",
        });
        Some(Draft { name, description, sql, gives_row: false, params })
    }

    /// What a list is for, in a sentence.
    fn purpose(
        &self,
        many: &str,
        searched: &[&TableColumn],
        exact: Option<&TableColumn>,
        filters: &[&TableColumn],
    ) -> String {
        let narrowed = match filters {
            [] => String::new(),
            _ => format!(" Can be narrowed by {}.", spoken_list(filters, "and")),
        };
        if searched.is_empty() {
            let by = self.key.first().map(|column| format!(", ordered by {}", clean(&column.name)));
            return format!("Lists {many}{}.{narrowed}", by.unwrap_or_default());
        }
        let parts = spoken_list(searched, "or");
        let exact =
            exact.map(|column| format!(", or by the exact {}", clean(&column.name))).unwrap_or_default();
        format!("Finds {many} by a part of the {parts}, upper and lower case alike{exact}.{narrowed}")
    }

    /// What a row of a list must be. Where a list can be narrowed, no text at all is a search too.
    fn conditions(
        &self,
        searched: &[&TableColumn],
        exact: Option<&TableColumn>,
        filters: &[&TableColumn],
    ) -> Vec<String> {
        let mut any: Vec<String> = searched.iter().map(|column| self.like(column)).collect();
        any.extend(exact.map(|column| format!("{} = :query", self.as_text(column))));
        let mut all = Vec::new();
        if !any.is_empty() && filters.is_empty() {
            all.push(any.join("\n   or "));
        } else if !any.is_empty() {
            all.push(format!("(:query = ''\n    or {})", any.join("\n    or ")));
        }
        // The comparison comes first: it is what tells PostgreSQL the type of the parameter.
        all.extend(filters.iter().map(|column| {
            let (name, sql) = (&column.name, &column.sql);
            format!("({sql} = :{name} or :{name} is null)")
        }));
        all
    }

    /// Columns that lead to other tables: by these people ask for rows.
    fn filters(&self) -> Vec<&TableColumn> {
        let is_name = |name: &str| {
            !["query", "pattern", "limit", "cursor"].contains(&name) && parameters(&[name]) == [name]
        };
        let refers = self.shown.iter().copied().filter(|column| {
            let is_whole_key = self.key.len() == 1 && self.is_key(column);
            self.table.references.contains(&column.name) && !is_whole_key && is_name(&column.name)
        });
        refers.take(MOST_FILTERS).collect()
    }

    /// One row by its key.
    fn get(&self, names: &mut Names, left_out: &mut Vec<String>) -> Option<Draft> {
        if self.key.is_empty() {
            return None;
        }
        let name = self.name("get", &self.words.one, names);
        let one = if self.words.is_lossy {
            format!("row of {}", clean(&self.table.name))
        } else {
            self.words.one.replace('_', " ")
        };
        let columns = self.limited(self.shown.iter().copied(), MOST_COLUMNS);
        if columns.len() < self.shown.len() {
            left_out.push(format!("{} more columns", self.shown.len() - columns.len()));
        }
        let key_names: Vec<&str> = self.key.iter().map(|column| column.name.as_str()).collect();
        let named = parameters(&key_names);
        let mut sql = self.select(&columns);
        let mut params = Vec::new();
        for (at, (column, param)) in self.key.iter().zip(&named).enumerate() {
            let _ = write!(sql, "\n{} {} = :{param}", if at == 0 { "where" } else { "  and" }, column.sql);
            let description = match column.comment.as_deref().map(|comment| shorten(comment, 200)) {
                Some(comment) if !comment.is_empty() => comment,
                _ => format!("The {} of the {one}", clean(&column.name)),
            };
            params.push(Param::Given { name: param.clone(), kind: column.parameter, description, rest: "" });
        }
        let by = spoken_list(&self.key, "and");
        let description = format!("Returns one {one} by its {by}, or null where there is none.");
        Some(Draft { name, description: self.described(description, &columns), sql, gives_row: true, params })
    }

    fn name(&self, verb: &str, noun: &str, names: &mut Names) -> String {
        let words = super::names::Words { joined: noun.to_owned(), is_lossy: self.words.is_lossy };
        names.tool(verb, &words, &self.table.schema, &self.table.full_name())
    }

    /// Columns of a row in a list: its key, and what is not large.
    fn listed(&self) -> Vec<&TableColumn> {
        let is_small = |column: &TableColumn| {
            column.nature != ColumnNature::Bulky && column.width.is_none_or(|width| width <= WIDE)
        };
        let fit = self.shown.iter().copied().filter(|column| is_small(column) || self.is_key(column));
        self.limited(fit, MOST_IN_LIST)
    }

    /// Takes the first columns, in their order, the key among them.
    fn limited<'c>(
        &self,
        columns: impl Iterator<Item = &'c TableColumn>,
        most: usize,
    ) -> Vec<&'c TableColumn> {
        let mut room = most.saturating_sub(self.key.len());
        let kept = columns.filter(|column| {
            let fits = self.is_key(column) || room > 0;
            if !self.is_key(column) {
                room = room.saturating_sub(1);
            }
            fits
        });
        kept.collect()
    }

    fn is_key(&self, column: &TableColumn) -> bool {
        self.key.iter().any(|key| key.name == column.name)
    }

    /// Text first; words of an enum are worth a look only beside it.
    fn searched(&self) -> Vec<&TableColumn> {
        let of = |nature| self.shown.iter().copied().filter(move |column| column.nature == nature);
        let narrow = |column: &&TableColumn| column.width.is_none_or(|width| width <= TOO_WIDE);
        of(ColumnNature::Text).filter(narrow).chain(of(ColumnNature::Label)).take(MOST_SEARCHED).collect()
    }

    /// The one column of a key that is no text itself.
    fn exact(&self) -> Option<&TableColumn> {
        match self.key.as_slice() {
            [column] if column.nature == ColumnNature::Other => Some(column),
            _ => None,
        }
    }

    /// The key, else the first column that rows can be sorted by.
    fn order(&self) -> Vec<String> {
        if !self.key.is_empty() {
            return self.key.iter().map(|column| column.sql.clone()).collect();
        }
        self.listed()
            .iter()
            .find(|column| column.sorts)
            .map(|column| column.sql.clone())
            .into_iter()
            .collect()
    }

    fn select(&self, columns: &[&TableColumn]) -> String {
        let names: Vec<String> = columns.iter().map(|column| column.sql.clone()).collect();
        format!("select {}\nfrom {}", wrapped(&names), self.table.sql)
    }

    fn like(&self, column: &TableColumn) -> String {
        match (self.dialect, column.nature) {
            (Dialect::Sqlite, _) => format!("{} like :pattern escape '\\'", column.sql),
            (Dialect::Postgres, ColumnNature::Label) => format!("{} ilike :pattern", self.as_text(column)),
            (Dialect::Postgres, _) => format!("{} ilike :pattern", column.sql),
        }
    }

    fn as_text(&self, column: &TableColumn) -> String {
        match self.dialect {
            Dialect::Sqlite => format!("cast({} as text)", column.sql),
            Dialect::Postgres => format!("{}::text", column.sql),
        }
    }

    /// Adds what the database says of the table and of its columns.
    fn described(&self, sentence: String, columns: &[&TableColumn]) -> String {
        let mut text = sentence;
        if let Some(comment) = &self.table.comment {
            let comment = shorten(comment, 500);
            if !comment.is_empty() {
                let _ = write!(
                    text,
                    " {comment}{}",
                    if comment.ends_with(['.', '!', '?', '…']) { "" } else { "." }
                );
            }
        }
        let mut begins = " Columns: ";
        for column in columns {
            let comment = shorten(column.comment.as_deref().unwrap_or_default(), 160);
            // At most 1,024 characters are sent.
            if comment.is_empty() || text.chars().count() + comment.chars().count() + column.name.len() > 980
            {
                continue;
            }
            let _ = write!(text, "{begins}{}: {}", clean(&column.name), comment.trim_end_matches('.'));
            begins = "; ";
        }
        if begins == "; " {
            text.push('.');
        }
        text
    }
}

/// The parameters of a search: the text, and the pattern made of it.
fn query(exact: Option<&TableColumn>, is_needed: bool) -> Vec<Param> {
    let description = match exact {
        Some(column) => format!("A part of the text, or a whole {}", clean(&column.name)),
        None => "A part of the text".to_owned(),
    };
    let (description, rest) = if is_needed {
        (description, "min-length = 1, max-length = 200")
    } else {
        (format!("{description}; nothing for all"), "default = \"\", max-length = 200")
    };
    vec![
        Param::Given { name: "query".to_owned(), kind: Some("string"), description, rest },
        Param::Computed { name: "pattern", from: "'%' + like_escape(args.query) + '%'" },
    ]
}

/// Whether a column may be shown at all; if not, why.
fn may_show(column: &TableColumn, left_out: &mut Vec<String>) -> bool {
    let name = clean(&column.name);
    if is_secret(&column.name) {
        left_out.push(format!("{name} (looks like a secret)"));
        return false;
    }
    if column.width.is_some_and(|width| width > TOO_WIDE) {
        left_out.push(format!("{name} (large)"));
        return false;
    }
    true
}

/// Whether a name is that of something nobody should read by accident.
fn is_secret(name: &str) -> bool {
    const PARTS: &[&str] = &["password", "passwd", "passphrase", "secret", "apikey", "credential"];
    const WORDS: &[&str] = &["pwd", "token", "salt", "otp", "cvv", "cvc", "ssn"];
    const PAIRS: &[&str] = &["api_key", "private_key", "card_number", "encryption_key"];
    let words = words(name).joined;
    PARTS.iter().any(|part| words.contains(part))
        || words.split('_').any(|word| WORDS.contains(&word))
        || PAIRS.iter().any(|pair| words.contains(pair))
}

/// Puts white space and what cannot be seen into single spaces: what is in a database must not break a line of the file, nor
/// hide something in a description.
pub(super) fn clean(text: &str) -> String {
    let is_unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(c, '\u{e0000}'..='\u{e007f}')
    };
    let spaced: String = text.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cleans a text and cuts it to `most` characters.
fn shorten(text: &str, most: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= most {
        return text;
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}

fn spoken_list(columns: &[&TableColumn], word: &str) -> String {
    let names: Vec<String> = columns.iter().map(|column| clean(&column.name)).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

/// Joins names with commas, on lines of at most some hundred characters.
fn wrapped(names: &[String]) -> String {
    let (mut out, mut line) = (String::new(), 0);
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            out.push(',');
            if line + name.len() > 90 {
                out.push_str("\n    ");
                line = 4;
            } else {
                out.push(' ');
                line += 2;
            }
        }
        out.push_str(name);
        line += name.len();
    }
    out
}

/// Writes a number with commas: 10,000.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use trunkline_sql::survey::TableKind;

    use super::*;

    fn column(name: &str, nature: ColumnNature) -> TableColumn {
        TableColumn {
            name: name.to_owned(),
            sql: name.to_owned(),
            type_name: "text".to_owned(),
            nullable: true,
            comment: None,
            nature,
            sorts: nature != ColumnNature::Bulky,
            width: None,
            parameter: None,
        }
    }

    fn table(columns: Vec<TableColumn>, key: &[&str]) -> Table {
        Table {
            schema: "public".to_owned(),
            name: "customers".to_owned(),
            sql: "customers".to_owned(),
            kind: TableKind::Table,
            comment: Some("People who\nbought something".to_owned()),
            key: key.iter().map(|name| (*name).to_owned()).collect(),
            rows: Some(12345),
            references: Vec::new(),
            referred: 0,
            columns,
        }
    }

    fn drafts(table: &Table) -> Drafts {
        draft(table, Dialect::Postgres, &mut Names::default())
    }

    #[test]
    fn a_table_has_a_search_and_a_row_by_its_key() {
        let mut email = column("email", ColumnNature::Text);
        email.comment = Some("Where to write to.".to_owned());
        let columns = vec![
            column("id", ColumnNature::Other),
            column("name", ColumnNature::Text),
            email,
            column("photo", ColumnNature::Bulky),
            column("password_hash", ColumnNature::Text),
        ];
        let drafts = drafts(&table(columns, &["id"]));
        assert_eq!(drafts.about, "public.customers, about 12,345 rows");
        assert_eq!(drafts.left_out, ["password_hash (looks like a secret)"]);
        let [search, get] = drafts.tools.as_slice() else { panic!("{drafts:?}") };
        assert_eq!((search.name.as_str(), get.name.as_str()), ("search_customers", "get_customer"));
        assert_eq!(
            search.sql,
            "select id, name, email\nfrom customers\nwhere name ilike :pattern\n   or email ilike :pattern\n   or id::text = :query\norder by id\nlimit :limit"
        );
        assert_eq!(get.sql, "select id, name, email, photo\nfrom customers\nwhere id = :id");
        assert_eq!(
            search.description,
            "Finds customers by a part of the name or email, upper and lower case alike, or by the exact id. People who bought something."
        );
        assert_eq!(
            get.description,
            "Returns one customer by its id, or null where there is none. People who bought something. Columns: email: Where to write to."
        );
    }

    #[test]
    fn what_a_table_lacks_its_tools_do_without() {
        let numbers = drafts(&table(
            vec![column("a", ColumnNature::Other), column("b", ColumnNature::Other)],
            &["a", "b"],
        ));
        let [list, get] = numbers.tools.as_slice() else { panic!("{numbers:?}") };
        assert_eq!(list.name, "list_customers");
        assert_eq!(list.sql, "select a, b\nfrom customers\norder by a, b\nlimit :limit");
        assert_eq!(get.sql, "select a, b\nfrom customers\nwhere a = :a\n  and b = :b");
        let keyless = drafts(&table(vec![column("name", ColumnNature::Text)], &[]));
        assert_eq!(keyless.tools.len(), 1);
        let secret = drafts(&table(
            vec![column("token", ColumnNature::Text), column("n", ColumnNature::Other)],
            &["token"],
        ));
        assert_eq!(secret.tools.len(), 1, "a secret is no key to ask with: {secret:?}");
        assert_eq!(drafts(&table(vec![column("pwd", ColumnNature::Text)], &["pwd"])).tools, []);
    }

    #[test]
    fn a_wide_table_shows_fewer_columns() {
        let mut columns: Vec<TableColumn> =
            (0..300).map(|at| column(&format!("c{at}"), ColumnNature::Text)).collect();
        columns.push(column("id", ColumnNature::Other));
        let drafts = drafts(&table(columns, &["id"]));
        assert_eq!(drafts.left_out, ["201 more columns"]);
        assert_eq!(drafts.tools[0].sql.matches("ilike").count(), MOST_SEARCHED);
        assert!(drafts.tools[1].sql.contains("c98, id\n"), "{}", drafts.tools[1].sql);
        assert!(drafts.tools.iter().all(|tool| tool.sql.lines().all(|line| line.len() < 110)));
    }

    #[test]
    fn what_cannot_be_seen_is_not_written() {
        assert_eq!(clean("a\u{0}\n\tb \u{202e}c\u{e0041}"), "a b c");
        assert_eq!(shorten(&"x".repeat(20), 5), "xxxx…");
        for (name, secret) in [
            ("password", true),
            ("userPassword", true),
            ("auth_token", true),
            ("tokens_used", false),
            ("salted", false),
        ] {
            assert_eq!(is_secret(name), secret, "{name}");
        }
    }
}
