//! MCP beside the other routes of an axum application: one port, one shutdown, shared state.
//!
//! ```sh
//! cargo run -p trunkline-example-axum-app                  # web page and MCP at http://127.0.0.1:3000
//! cargo run -p trunkline-example-axum-app -- --stdio       # only the tools, over stdin and stdout
//! ```
//!
//! You will see a guest book. `GET /` shows it as a page, `POST /sign` with a line of text signs it, and at `/mcp` the tools
//! `read_book` and `sign_book` do the same for a model. What one side writes the other one reads.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::{get, post};
use clap::Parser;
use tokio::net::TcpListener;
use trunkline::{Server, State, ToolError, tool};

/// What both sides share.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Vec<String>>>);

impl Book {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> String {
        self.lock().join("\n")
    }

    fn sign(&self, line: &str) -> Result<usize, &'static str> {
        let (line, mut lines) = (line.trim(), self.lock());
        if line.is_empty() || line.len() > 200 {
            return Err("a line has 1 to 200 characters");
        }
        if lines.len() >= 1000 {
            return Err("the book is full");
        }
        lines.push(line.to_owned());
        Ok(lines.len())
    }
}

/// Reads the guest book.
#[tool(read_only, open_world = false)]
fn read_book(State(book): State<Book>) -> String {
    book.read()
}

/// Signs the guest book with one line.
#[tool(destructive = false, open_world = false)]
fn sign_book(State(book): State<Book>, line: String) -> Result<String, ToolError> {
    Ok(format!("this is line {}", book.sign(&line)?))
}

async fn page(Shared(book): Shared<Book>) -> String {
    format!("Guest book\n\n{}\n", book.read())
}

async fn sign(Shared(book): Shared<Book>, line: String) -> (StatusCode, String) {
    match book.sign(&line) {
        Ok(number) => (StatusCode::CREATED, format!("this is line {number}\n")),
        Err(problem) => (StatusCode::BAD_REQUEST, format!("{problem}\n")),
    }
}

#[derive(Parser)]
struct Cli {
    /// Where to serve HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: String,
    /// Serve only the tools, to one client over stdin and stdout.
    #[arg(long)]
    stdio: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Over stdio stdout belongs to the protocol, so the log goes to stderr.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let book = Book::default();
    let server = Server::new("guest-book", "1.0.0").state(book.clone()).tool(read_book).tool(sign_book);
    if cli.stdio {
        return Ok(server.run_stdio().await?);
    }
    let mcp = server.build()?;
    let handle = mcp.handle();
    let app = Router::new()
        .route("/", get(page))
        .route("/sign", post(sign))
        .with_state(book)
        .merge(mcp.into_router());
    let listener = TcpListener::bind(&cli.listen).await?;
    tracing::info!("serving http://{}, MCP at /mcp", listener.local_addr()?);
    let stop = async move {
        interrupted().await;
        // A subscription has no end of its own, and axum waits for every response.
        handle.stop().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler for the signal the process just ends by it.
        std::future::pending::<()>().await;
    }
}
