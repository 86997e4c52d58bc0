//! Asking the user over several rounds, in code that reads as one function.
//!
//! ```sh
//! cargo run -p trunkline-example-wizard                  # HTTP, http://127.0.0.1:3000/mcp
//! cargo run -p trunkline-example-wizard -- --stdio       # one client over stdin and stdout
//! ```
//!
//! You will see the tool `book_table`, which takes no arguments: it asks for a name, a date and the number of guests, then
//! where to sit, for parties over eight also what to cook, for the private room for a deposit by opening an address (if the
//! client can), and last for a yes. Say no or close a question at any point, and nothing stays booked. `ledger` counts what
//! happened: however many rounds it took, one table was held.
//!
//! **Each answer runs `book_table` again from its start**, with the earlier answers given back at once. So what must not
//! happen twice before a question goes into `ctx.step`, and what is asked depends on nothing but arguments, answers and steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trunkline::{Context, Elicited, Json, ServeError, Server, State, ToolError, tool};

/// Who comes. A form has text, numbers, booleans and choices; the constraints are shown, and checked.
#[derive(Deserialize, JsonSchema)]
struct Party {
    /// In whose name the table is booked
    #[schemars(length(min = 1, max = 80))]
    name: String,
    #[schemars(extend("format" = "date"))]
    date: String,
    #[schemars(range(min = 1, max = 20))]
    guests: u8,
}

#[derive(Deserialize, JsonSchema)]
struct Place {
    seating: Seating,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Seating {
    Inside,
    Terrace,
    PrivateRoom,
}

#[derive(Deserialize, JsonSchema)]
struct Menu {
    /// Whether the kitchen cooks one menu for all
    one_menu: bool,
    /// What somebody must not eat
    allergies: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Confirmation {
    /// Book it
    yes: bool,
}

/// Books a table in the restaurant. Asks the user for everything it needs to know.
#[tool(destructive = false, open_world = false)]
async fn book_table(ctx: Context, State(book): State<Book>) -> Result<String, ToolError> {
    // Done in the first round alone; later ones get the number back.
    let table = ctx.step("hold", async { book.hold() }).await;
    match ask(&ctx, table).await {
        Ok(Some(booking)) => book.confirm(table).map(|()| booking),
        Ok(None) => {
            book.release(table);
            Ok("nothing was booked: the user said no".to_owned())
        }
        Err(error) => {
            book.release(table);
            Err(error)
        }
    }
}

/// Asks question after question; `None` when the last answer is no.
async fn ask(ctx: &Context, table: u32) -> Result<Option<String>, ToolError> {
    // `accepted()` makes an error result of a declined or closed question, with a text for the model.
    let party: Party = ctx.elicit("Who is coming, and when?").await.accepted()?;
    let Place { seating } = ctx.elicit("Where would you like to sit?").await.accepted()?;
    let mut wishes = String::new();
    if party.guests > 8 {
        let Menu { one_menu, allergies } = ctx.elicit("What shall the kitchen know?").await.accepted()?;
        wishes.push_str(if one_menu { ", one menu for all" } else { "" });
        wishes.extend(allergies.map(|allergies| format!(", without {allergies}")));
    }
    // What must not pass through the client, such as a payment, happens at an address of yours. The answer says that the user
    // agreed to open it, not that anything was paid: a real server would look that up here, and ask again while it is not.
    if seating == Seating::PrivateRoom && ctx.can_elicit_url() {
        let address = format!("https://restaurant.example/deposit/{table}");
        ctx.elicit_url("The private room needs a deposit of 50.", address).await.accepted()?;
    }
    let Party { name, date, guests } = party;
    let summary = format!("table {table} for {guests} on {date}, {seating:?}, in the name of {name}{wishes}");
    match ctx.elicit::<Confirmation>(format!("Shall I book {summary}?")).await {
        Elicited::Accepted(Confirmation { yes: true }) => Ok(Some(format!("booked: {summary}"))),
        Elicited::Accepted(Confirmation { yes: false }) | Elicited::Declined => Ok(None),
        Elicited::Cancelled => {
            Err("the user closed the last question: ask whether the table is still wanted".into())
        }
    }
}

/// Tells how many tables were ever held, and how many are booked or held now.
#[tool(read_only, open_world = false)]
fn ledger(State(book): State<Book>) -> Json<Ledger> {
    let tables = book.lock();
    let booked = tables.taken.values().filter(|taken| matches!(taken, Taken::Booked)).count();
    Json(Ledger { ever_held: tables.last, booked, held: tables.taken.len() - booked })
}

#[derive(Serialize, JsonSchema)]
struct Ledger {
    ever_held: u32,
    booked: usize,
    held: usize,
}

#[derive(Clone, Default)]
struct Book(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    last: u32,
    taken: BTreeMap<u32, Taken>,
}

enum Taken {
    Held(Instant),
    Booked,
}

/// A client may go away between two rounds, and nothing tells the server. So what is held ends by itself, after as long as
/// answers are taken.
const HOLD: Duration = Duration::from_secs(10 * 60);

impl Book {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.taken.retain(|_, taken| !matches!(taken, Taken::Held(since) if since.elapsed() > HOLD));
        tables
    }

    fn hold(&self) -> u32 {
        let mut tables = self.lock();
        tables.last += 1;
        let table = tables.last;
        tables.taken.insert(table, Taken::Held(Instant::now()));
        table
    }

    /// Booked twice is booked once: a client may send its last answer again.
    fn confirm(&self, table: u32) -> Result<(), ToolError> {
        match self.lock().taken.get_mut(&table) {
            Some(taken) => *taken = Taken::Booked,
            None => return Err("the table was held for 10 minutes and is free again: start over".into()),
        }
        Ok(())
    }

    fn release(&self, table: u32) {
        self.lock().taken.remove(&table);
    }
}

#[derive(Parser)]
struct Cli {
    /// Where to serve HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: String,
    /// Serve one client over stdin and stdout instead.
    #[arg(long)]
    stdio: bool,
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    // Over stdio stdout belongs to the protocol, so the log goes to stderr.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let server = Server::new("wizard-server", "1.0.0").state(Book::default()).tool(book_table).tool(ledger);
    if cli.stdio { server.run_stdio().await } else { server.run(&cli.listen).await }
}
