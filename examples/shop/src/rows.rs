//! The rows themselves: who the customers are, what they ordered and what it came to.

use crate::catalogue::PRODUCTS;
use crate::names::{FIRST, LAST, SMITH};
use crate::random::{Random, Stream};
use crate::values::{Cents, Timestamp};
use crate::{CUSTOMERS, ORDERS};

/// The first moment a customer can have been created: 2021-01-01.
const OPENING: u32 = 1_609_459_200;
/// Customers are created during this many days after [`OPENING`].
const CUSTOMER_DAYS: u32 = 1_280;
/// Nothing is ordered after this moment: 2025-12-31T23:59:59Z.
const LAST_MOMENT: u32 = 1_767_225_599;
const DAY: u32 = 86_400;

/// Where an order stands, as often as it shall come up.
const STATUSES: [&str; 10] = [
    "delivered",
    "delivered",
    "delivered",
    "delivered",
    "delivered",
    "shipped",
    "shipped",
    "paid",
    "pending",
    "cancelled",
];

/// A row of `customers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// Primary key, from 1 without gaps.
    pub id: u32,
    /// Given name and family name, ASCII.
    pub name: String,
    /// Unique, lower case.
    pub email: String,
    /// When the account was made; before the customer's first order.
    pub created_at: Timestamp,
    /// The sum of the totals of all their orders.
    pub total_spent: Cents,
}

/// A row of `orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Primary key, from 1 without gaps.
    pub id: u32,
    /// Whose order it is.
    pub customer_id: u32,
    /// `pending`, `paid`, `shipped`, `delivered` or `cancelled`.
    pub status: &'static str,
    /// When it was placed. Two orders can share a moment.
    pub ordered_at: Timestamp,
    /// The sum of its items.
    pub total: Cents,
}

/// A row of `order_items`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Primary key, from 1 without gaps, in the order of the orders.
    pub id: u32,
    /// Which order it belongs to.
    pub order_id: u32,
    /// The product's number.
    pub sku: &'static str,
    /// The product's name.
    pub product: &'static str,
    /// How many, at least 1.
    pub quantity: u32,
    /// The price of one.
    pub unit_price: Cents,
}

/// The shop: the rows of its three tables, always the same.
#[derive(Debug, Clone)]
pub struct Shop {
    /// What each customer spent; customer 1 is at 0.
    spent: Vec<Cents>,
}

impl Default for Shop {
    fn default() -> Self {
        Self::new()
    }
}

impl Shop {
    /// Makes the shop. Adds up all orders once, which takes some milliseconds.
    #[must_use]
    pub fn new() -> Self {
        let mut spent = vec![Cents(0); CUSTOMERS as usize];
        for order in (1..=ORDERS).map(order) {
            spent[order.customer_id as usize - 1].0 += order.total.0;
        }
        Self { spent }
    }

    /// Returns the customers in order of their ids.
    pub fn customers(&self) -> impl Iterator<Item = Customer> + '_ {
        self.spent.iter().zip(1..=CUSTOMERS).map(|(&spent, id)| customer(id, spent))
    }

    /// Returns the orders in order of their ids.
    pub fn orders(&self) -> impl Iterator<Item = Order> + '_ {
        (1..=ORDERS).map(order)
    }

    /// Returns the items of all orders in order of their ids.
    #[must_use]
    pub fn items(&self) -> Items {
        Items { next_id: 1, order_id: 0, lines: Vec::new().into_iter() }
    }
}

/// The rows of `order_items`: see [`Shop::items`].
#[derive(Debug)]
pub struct Items {
    next_id: u32,
    order_id: u32,
    lines: std::vec::IntoIter<Line>,
}

impl Iterator for Items {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(line) = self.lines.next() {
                let id = self.next_id;
                self.next_id += 1;
                let product = &PRODUCTS[line.product];
                return Some(Item {
                    id,
                    order_id: self.order_id,
                    sku: product.sku,
                    product: product.name,
                    quantity: line.quantity,
                    unit_price: product.price,
                });
            }
            if self.order_id == ORDERS {
                return None;
            }
            self.order_id += 1;
            self.lines = head(self.order_id).1.into_iter();
        }
    }
}

fn customer(id: u32, total_spent: Cents) -> Customer {
    let mut random = Random::of(Stream::Customer, id);
    let created_at = created_at(&mut random);
    let first = random.pick(&FIRST);
    let last = if id % 40 == 7 { SMITH } else { random.pick(&LAST) };
    let mailbox = last.replace('\'', "");
    let email = format!("{first}.{mailbox}{id}@example.com").to_ascii_lowercase();
    Customer { id, name: format!("{first} {last}"), email, created_at, total_spent }
}

/// Takes the first number of the customer's stream: orders need this moment, and only this, of their customer.
fn created_at(random: &mut Random) -> Timestamp {
    Timestamp(OPENING + random.below(CUSTOMER_DAYS * DAY))
}

/// One product on an order.
#[derive(Debug)]
struct Line {
    product: usize,
    quantity: u32,
}

fn order(id: u32) -> Order {
    let (mut order, lines) = head(id);
    order.total =
        lines.iter().map(|line| Cents(PRODUCTS[line.product].price.0 * i64::from(line.quantity))).sum();
    order
}

/// Returns the order without its total, and its lines.
fn head(id: u32) -> (Order, Vec<Line>) {
    let (customer_id, ordered_at) = checkout(if id.is_multiple_of(50) { id - 1 } else { id });
    let mut random = Random::of(Stream::Order, id);
    let status = random.pick(&STATUSES);
    let lines = (0..=random.below(4)).map(|_| line(&mut random)).collect();
    (Order { id, customer_id, status, ordered_at, total: Cents(0) }, lines)
}

/// Returns who ordered and when. Every 50th order was placed together with the one before it, so that "newest first" needs
/// the id to be an order of rows and not just of moments.
fn checkout(id: u32) -> (u32, Timestamp) {
    let mut random = Random::of(Stream::Checkout, id);
    let customer_id = buyer(&mut random);
    let since = created_at(&mut Random::of(Stream::Customer, customer_id));
    let ordered_at = Timestamp(since.0 + random.below(LAST_MOMENT - since.0));
    (customer_id, ordered_at)
}

/// Chooses who orders: the lesser of two draws makes some customers regulars and leaves others without an order.
fn buyer(random: &mut Random) -> u32 {
    let rank = random.below(CUSTOMERS).min(random.below(CUSTOMERS));
    // 7,919 has no common divisor with 10,000: every rank belongs to one customer, and regulars have scattered ids.
    rank * 7_919 % CUSTOMERS + 1
}

fn line(random: &mut Random) -> Line {
    let count = u32::try_from(PRODUCTS.len()).unwrap_or(u32::MAX);
    Line { product: random.below(count) as usize, quantity: 1 + random.below(3) }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn there_are_exactly_as_many_rows_as_promised() {
        let shop = Shop::new();
        assert_eq!(shop.customers().count(), 10_000);
        assert_eq!(shop.orders().count(), 40_000);
        assert!(shop.orders().zip(1..).all(|(order, id)| order.id == id));
        assert!(shop.items().zip(1..).all(|(item, id)| item.id == id));
    }

    #[test]
    fn two_shops_have_the_same_rows() {
        let (one, other) = (Shop::new(), Shop::new());
        assert!(one.customers().eq(other.customers()));
        assert!(one.orders().eq(other.orders()));
        assert!(one.items().eq(other.items()));
    }

    #[test]
    fn many_customers_are_named_smith_and_all_names_are_ascii() {
        let shop = Shop::new();
        assert!(shop.customers().filter(|customer| customer.name.ends_with(" Smith")).count() >= 100);
        assert!(shop.customers().all(|customer| customer.name.is_ascii() && customer.email.is_ascii()));
    }

    #[test]
    fn no_two_customers_share_an_email() {
        let shop = Shop::new();
        assert_eq!(shop.customers().map(|customer| customer.email).collect::<HashSet<_>>().len(), 10_000);
    }

    #[test]
    fn totals_are_the_sums_of_what_was_bought() {
        let shop = Shop::new();
        let mut by_order: HashMap<u32, i64> = HashMap::new();
        for item in shop.items() {
            *by_order.entry(item.order_id).or_default() += i64::from(item.quantity) * item.unit_price.0;
        }
        let mut by_customer: HashMap<u32, i64> = HashMap::new();
        for order in shop.orders() {
            assert_eq!(Some(&order.total.0), by_order.get(&order.id), "order {}", order.id);
            *by_customer.entry(order.customer_id).or_default() += order.total.0;
        }
        for customer in shop.customers() {
            let spent = by_customer.get(&customer.id).copied().unwrap_or(0);
            assert_eq!(customer.total_spent, Cents(spent), "customer {}", customer.id);
        }
    }

    #[test]
    fn nobody_orders_before_their_account_exists() {
        let shop = Shop::new();
        let created: Vec<_> = shop.customers().map(|customer| customer.created_at).collect();
        assert!(shop.orders().all(|order| order.ordered_at >= created[order.customer_id as usize - 1]));
        assert!(shop.orders().all(|order| order.ordered_at <= Timestamp(LAST_MOMENT)));
    }

    #[test]
    fn some_orders_of_a_customer_share_a_moment() {
        let orders: Vec<_> = Shop::new().orders().collect();
        let together = |pair: &&[Order]| {
            pair[0].customer_id == pair[1].customer_id && pair[0].ordered_at == pair[1].ordered_at
        };
        assert_eq!(orders.windows(2).filter(together).count(), 800);
    }

    #[test]
    fn the_rows_never_change() {
        let shop = Shop::new();
        let first = shop.customers().next().expect("there are customers");
        let text =
            format!("{} {} {} {} {}", first.id, first.name, first.email, first.created_at, first.total_spent);
        assert_eq!(text, "1 Henry Lee henry.lee1@example.com 2022-11-07T08:24:05Z 978.54");
    }
}
