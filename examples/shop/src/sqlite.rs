//! Prints the shop as one SQL script for SQLite: the schema, then multi-row inserts, in one transaction.

use std::fmt::Display;
use std::io::{self, Write};

use crate::{Shop, sqlite_schema};

/// Rows per INSERT: long enough that parsing does not matter, short enough for any limit on statement length.
const BATCH: usize = 500;

impl Shop {
    /// Writes the script that makes and fills the shop in an empty SQLite database.
    ///
    /// It is plain SQL without commands of any shell, so both `sqlite3 shop.db` and a driver can run it.
    /// Some megabytes in many small writes: hand in a buffered writer.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_sqlite_sql(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "begin;\n{}", sqlite_schema())?;
        let customers = self.customers().map(|row| {
            format!(
                "{},{},{},'{}','{}'",
                row.id,
                quoted(&row.name),
                quoted(&row.email),
                row.created_at,
                row.total_spent
            )
        });
        inserts(out, "customers (id, name, email, created_at, total_spent)", customers)?;
        let orders = self.orders().map(|row| {
            format!(
                "{},{},{},'{}','{}'",
                row.id,
                row.customer_id,
                quoted(row.status),
                row.ordered_at,
                row.total
            )
        });
        inserts(out, "orders (id, customer_id, status, ordered_at, total)", orders)?;
        let items = self.items().map(|row| {
            let (sku, product) = (quoted(row.sku), quoted(row.product));
            format!("{},{},{sku},{product},{},'{}'", row.id, row.order_id, row.quantity, row.unit_price)
        });
        inserts(out, "order_items (id, order_id, sku, product, quantity, unit_price)", items)?;
        writeln!(out, "commit;")
    }
}

fn inserts(out: &mut impl Write, target: &str, rows: impl Iterator<Item = impl Display>) -> io::Result<()> {
    let mut in_batch = 0;
    for row in rows {
        match in_batch {
            0 => write!(out, "insert into {target} values\n({row})")?,
            _ => write!(out, ",\n({row})")?,
        }
        in_batch += 1;
        if in_batch == BATCH {
            writeln!(out, ";")?;
            in_batch = 0;
        }
    }
    if in_batch > 0 { writeln!(out, ";") } else { Ok(()) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_transaction_and_quotes_names() {
        let mut script = Vec::new();
        Shop::new().write_sqlite_sql(&mut script).unwrap();
        let script = String::from_utf8(script).unwrap();
        assert!(script.starts_with("begin;\ncreate table customers"));
        assert!(script.ends_with(";\ncommit;\n"));
        assert!(script.contains("O''Brien") && !script.contains(" O'Brien"));
        assert_eq!(script.matches("insert into customers ").count(), 10_000 / BATCH);
        assert_eq!(script.matches("insert into orders ").count(), 40_000 / BATCH);
    }
}
