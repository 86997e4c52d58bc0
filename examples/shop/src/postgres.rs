//! Prints the shop as one script for `psql`: the schema, then COPY blocks, in one transaction.

use std::fmt::Display;
use std::io::{self, Write};

use crate::{Shop, postgres_schema};

impl Shop {
    /// Writes the script that makes and fills the shop in a PostgreSQL database without such tables.
    ///
    /// COPY blocks and the first line are for `psql`; it stops at the first error, and the transaction leaves nothing behind.
    /// Some megabytes in many small writes: hand in a buffered writer.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_postgres_sql(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "\\set ON_ERROR_STOP on\nbegin;\n{}", postgres_schema())?;
        let customers = self.customers().map(|row| {
            let (name, email) = (escaped(&row.name), escaped(&row.email));
            format!("{}\t{name}\t{email}\t{}\t{}", row.id, row.created_at, row.total_spent)
        });
        copy(out, "customers (id, name, email, created_at, total_spent)", customers)?;
        let orders = self.orders().map(|row| {
            format!("{}\t{}\t{}\t{}\t{}", row.id, row.customer_id, row.status, row.ordered_at, row.total)
        });
        copy(out, "orders (id, customer_id, status, ordered_at, total)", orders)?;
        let items = self.items().map(|row| {
            let (sku, product) = (escaped(row.sku), escaped(row.product));
            format!("{}\t{}\t{sku}\t{product}\t{}\t{}", row.id, row.order_id, row.quantity, row.unit_price)
        });
        copy(out, "order_items (id, order_id, sku, product, quantity, unit_price)", items)?;
        // Outside of the transaction there is no wait for autovacuum: the first call has a good plan.
        writeln!(out, "commit;\nanalyze customers, orders, order_items;")
    }
}

fn copy(out: &mut impl Write, target: &str, rows: impl Iterator<Item = impl Display>) -> io::Result<()> {
    writeln!(out, "copy {target} from stdin;")?;
    for row in rows {
        writeln!(out, "{row}")?;
    }
    writeln!(out, "\\.")
}

/// Escapes what COPY's text format gives a meaning.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_copies_every_row_of_every_table() {
        let shop = Shop::new();
        let mut script = Vec::new();
        shop.write_postgres_sql(&mut script).unwrap();
        let script = String::from_utf8(script).unwrap();
        let block = |table: &str| {
            let (_, after) = script.split_once(&format!("copy {table} (")).unwrap();
            let (rows, _) = after.split_once("\n\\.\n").unwrap();
            rows.lines().count() - 1
        };
        assert_eq!(block("customers"), 10_000);
        assert_eq!(block("orders"), 40_000);
        assert_eq!(block("order_items"), shop.items().count());
    }

    #[test]
    fn what_copy_would_read_as_structure_is_escaped() {
        assert_eq!(escaped("a\tb\\c\n"), "a\\tb\\\\c\\n");
    }
}
