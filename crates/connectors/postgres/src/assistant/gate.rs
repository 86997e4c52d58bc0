//! Which statements of a caller the assistant's tools take: the one call that decides it.

use trunkline_sql::DatabaseError;

use super::answer::Fault;
use crate::nature::{Kind, Nature};

/// Admits one reading statement.
///
/// # Errors
/// [`Fault::Said`] or [`Fault::Statement`], with what would pass.
pub(super) fn admit(sql: &str) -> Result<(), Fault> {
    if sql.trim().is_empty() {
        return Err(Fault::Said("`sql` is empty; write one SQL statement that reads".to_owned()));
    }
    if sql.len() > MOST_SQL {
        return Err(Fault::Said(format!("`sql` is longer than {MOST_SQL} bytes; write a shorter statement")));
    }
    let nature = Nature::of(sql);
    let refused = |error: DatabaseError| Fault::Statement { error, sql: sql.to_owned(), before: 0 };
    nature.admit_reading(sql).map_err(refused)?;
    if nature.kind == Kind::Inspect {
        let text = "`sql` begins with `explain` or `show`; write the statement itself, beginning with `select` or `with`";
        return Err(Fault::Said(text.to_owned()));
    }
    Ok(())
}

/// The longest statement.
const MOST_SQL: usize = 100_000;
