//! Prints the shop as SQL: `shop-data sqlite | sqlite3 shop.db`, `shop-data postgres | psql "$DATABASE_URL"`.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use trunkline_example_shop::Shop;

const USAGE: &str = "\
Prints the example shop (10,000 customers, 40,000 orders and their items) as SQL.

Usage:
  shop-data sqlite   | sqlite3 -bail shop.db
  shop-data postgres | psql \"$DATABASE_URL\"
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let written = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["sqlite"] => Shop::new().write_sqlite_sql(&mut out),
        ["postgres"] => Shop::new().write_postgres_sql(&mut out),
        ["--help" | "-h"] => out.write_all(USAGE.as_bytes()),
        _ => {
            // Nothing can be done when even stderr is closed; the exit code still tells.
            let _ = io::stderr().write_all(USAGE.as_bytes());
            return ExitCode::from(2);
        }
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader stopped: it has said why itself.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "shop-data: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}
