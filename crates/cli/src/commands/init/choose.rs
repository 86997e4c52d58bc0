//! Which tables get tools: those that were asked for, else the few that a first file should begin with.

use trunkline_service::nearest;
use trunkline_sql::survey::{Table, TableKind};

use crate::exit::{Code, Failed};

/// How many tables get tools when nobody says which.
pub(super) const FIRST: usize = 20;

/// Which tables were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nobody said.
    First,
    /// All of them.
    All,
    /// Those that one of the patterns fits.
    Fitting(Vec<String>),
}

/// The tables chosen, in the order of the survey, and the names of those left out.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) tables: Vec<Table>,
    pub(super) left_out: Vec<String>,
}

/// Chooses.
///
/// # Errors
/// A pattern that fits no table.
pub(super) fn choose(tables: Vec<Table>, wanted: &Wanted) -> Result<Chosen, Failed> {
    let takes: Vec<bool> = match wanted {
        Wanted::All => vec![true; tables.len()],
        Wanted::First => first(&tables),
        Wanted::Fitting(patterns) => {
            if let Some(pattern) =
                patterns.iter().find(|pattern| !tables.iter().any(|table| fits(pattern, table)))
            {
                return Err(fits_nothing(pattern, &tables));
            }
            tables.iter().map(|table| patterns.iter().any(|pattern| fits(pattern, table))).collect()
        }
    };
    let (mut chosen, mut left_out) = (Vec::new(), Vec::new());
    for (table, take) in tables.into_iter().zip(takes) {
        if take { chosen.push(table) } else { left_out.push(table.full_name()) }
    }
    Ok(Chosen { tables: chosen, left_out })
}

/// Takes the best twenty; what only tools for migrations and the like read is never among them.
fn first(tables: &[Table]) -> Vec<bool> {
    let mut ranked: Vec<usize> =
        (0..tables.len()).filter(|at| tables.get(*at).is_some_and(|table| !is_machinery(table))).collect();
    ranked.sort_by_key(|at| std::cmp::Reverse(tables.get(*at).map(score)));
    ranked.truncate(FIRST);
    (0..tables.len()).map(|at| ranked.contains(&at)).collect()
}

/// Tables that others refer to are what a database is about; many rows say that one is used; a comment, that someone cared.
fn score(table: &Table) -> u32 {
    let size = table.rows.unwrap_or(0).checked_ilog2().unwrap_or(0);
    let base = match table.kind {
        TableKind::Table => 8,
        TableKind::View => 0,
    };
    base + size
        + 3 * table.referred.min(5)
        + if table.comment.is_some() { 4 } else { 0 }
        + if table.key.is_empty() { 0 } else { 4 }
}

fn is_machinery(table: &Table) -> bool {
    const NAMES: &[&str] = &[
        "schema_migrations",
        "ar_internal_metadata",
        "alembic_version",
        "flyway_schema_history",
        "databasechangelog",
        "databasechangeloglock",
        "django_migrations",
        "knex_migrations",
        "knex_migrations_lock",
        "_prisma_migrations",
        "__efmigrationshistory",
        "_sqlx_migrations",
        "refinery_schema_history",
        "goose_db_version",
        "sequelizemeta",
        "typeorm_metadata",
        "phinxlog",
        "__drizzle_migrations",
        "spatial_ref_sys",
    ];
    NAMES.contains(&table.name.to_lowercase().as_str())
}

/// Whether a pattern fits the table's name, or its name with the schema.
fn fits(pattern: &str, table: &Table) -> bool {
    glob(pattern.as_bytes(), table.name.as_bytes()) || glob(pattern.as_bytes(), table.full_name().as_bytes())
}

/// `*` stands for anything, `?` for one byte. Goes back to the last `*` only, so the time is bounded by the product.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || Some(wanted) == text.get(t) => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, t) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

fn fits_nothing(pattern: &str, tables: &[Table]) -> Failed {
    let names: Vec<String> =
        tables.iter().flat_map(|table| [table.name.clone(), table.full_name()]).collect();
    let help = match nearest(pattern, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let mut some: Vec<String> =
                tables.iter().take(5).map(|table| format!("`{}`", table.full_name())).collect();
            if tables.len() > some.len() {
                some.push("...".to_owned());
            }
            format!("there are {}", some.join(", "))
        }
    };
    Failed::new(Code::Usage, format!("no table that this login may read is called `{pattern}`; {help}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, rows: u64) -> Table {
        Table {
            schema: "public".to_owned(),
            name: name.to_owned(),
            sql: name.to_owned(),
            kind: TableKind::Table,
            comment: None,
            key: vec!["id".to_owned()],
            rows: Some(rows),
            references: Vec::new(),
            referred: 0,
            columns: Vec::new(),
        }
    }

    #[test]
    fn patterns_fit_names_with_and_without_schema() {
        for (pattern, text, fits) in [
            ("customers", "customers", true),
            ("cust*", "customers", true),
            ("*", "", true),
            ("*.customers", "public.customers", true),
            ("c?stomers", "customers", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("customer", "customers", false),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
        let tables = vec![table("orders", 1), table("customers", 1)];
        let chosen = choose(tables.clone(), &Wanted::Fitting(vec!["public.c*".to_owned()])).unwrap();
        assert_eq!(
            (chosen.tables[0].name.as_str(), chosen.left_out.as_slice()),
            ("customers", &["public.orders".to_owned()][..])
        );
        let error = choose(tables, &Wanted::Fitting(vec!["custmers".to_owned()])).unwrap_err();
        assert!(error.to_string().contains("did you mean `customers`?"), "{error}");
    }

    #[test]
    fn the_first_file_has_the_twenty_that_matter_most() {
        let mut tables: Vec<Table> = (0..200).map(|number| table(&format!("t{number:03}"), number)).collect();
        tables.push(table("schema_migrations", 1_000_000));
        tables.push(Table { referred: 4, ..table("accounts", 0) });
        let chosen = choose(tables, &Wanted::First).unwrap();
        assert_eq!((chosen.tables.len(), chosen.left_out.len()), (20, 182));
        assert!(chosen.tables.iter().any(|table| table.name == "accounts"));
        assert!(chosen.left_out.contains(&"public.schema_migrations".to_owned()));
    }
}
