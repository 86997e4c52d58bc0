//! The shop of the examples: 10,000 customers, 40,000 orders and their items, the same on every machine.
//!
//! Every value follows from the position of its row and one fixed seed, so the rows can be read in any order, on any
//! machine, and are the same in SQLite and in PostgreSQL. There is no clock, no runtime and no database driver here: the
//! writers print SQL, and whoever has a driver can bind the plain structs instead.
//!
//! ```
//! use trunkline_example_shop::Shop;
//!
//! let shop = Shop::new();
//! let first = shop.customers().next().expect("the shop has customers");
//! assert_eq!(first.id, 1);
//! assert!(first.email.ends_with("@example.com"));
//! ```

mod catalogue;
mod names;
mod postgres;
mod random;
mod rows;
mod sqlite;
mod values;

pub use rows::{Customer, Item, Items, Order, Shop};
pub use values::{Cents, Timestamp};

/// How many customers there are; their ids run from 1 to this.
pub const CUSTOMERS: u32 = 10_000;

/// How many orders there are; their ids run from 1 to this.
pub const ORDERS: u32 = 40_000;

/// Returns the statements that make the empty tables and their indexes in SQLite.
///
/// Money is TEXT with two decimals and times are RFC 3339 text in UTC.
#[must_use]
pub fn sqlite_schema() -> &'static str {
    include_str!("../schema.sqlite.sql")
}

/// Returns the statements that make the empty tables and their indexes in PostgreSQL.
///
/// Money is `numeric(12,2)` and times are `timestamptz`.
#[must_use]
pub fn postgres_schema() -> &'static str {
    include_str!("../schema.postgres.sql")
}
