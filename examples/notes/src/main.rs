//! Resources that change: a list that grows and shrinks, subscriptions, completions, and a prompt over a note.
//!
//! ```sh
//! cargo run -p trunkline-example-notes                  # HTTP, http://127.0.0.1:3000/mcp
//! cargo run -p trunkline-example-notes -- --stdio       # one client over stdin and stdout
//! ```
//!
//! You will see the resource `notes:///all`, the template `notes:///note/{id}`, the tools `add_note`, `edit_note` and
//! `delete_note`, and the prompt `summarize`. A note you add is listed as a resource of its own; whoever listens hears
//! that the list changed, and who subscribed to a note hears when it is edited. The ids of notes complete as you type them.
//! Notes live in memory, 100 at most, and are gone when the server ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Parser;
use trunkline::{
    Completion, CompletionContext, Context, DynResource, EmbeddedResource, Failure, PromptError,
    PromptMessages, ResourceError, ResourceLink, ServeError, Server, State, ToolError, prompt, resource,
    tool,
};

/// The most notes there can be: what clients can add is bounded.
const MOST: usize = 100;

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Store>>);

#[derive(Default)]
struct Store {
    notes: BTreeMap<u32, String>,
    last_id: u32,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self, id: u32) -> Option<String> {
        self.lock().notes.get(&id).cloned()
    }
}

// ---------------------------------------------------------------- resources

/// Every note: its id and its first line.
#[resource("notes:///all", mime = "text/plain", subscribe)]
fn all_notes(State(notes): State<Notes>) -> String {
    let line = |(id, text): (&u32, &String)| format!("{id}: {}\n", first_line(text));
    notes.lock().notes.iter().map(line).collect()
}

/// One note.
#[resource("notes:///note/{id}", mime = "text/markdown", subscribe)]
fn note(State(notes): State<Notes>, #[arg(complete = note_ids)] id: u32) -> Result<String, ResourceError> {
    notes.text(id).ok_or(ResourceError::NotFound)
}

/// The ids that fit what was typed so far.
fn note_ids(ctx: CompletionContext) -> Result<Completion, Failure> {
    let notes: Notes = ctx.state()?;
    let ids: Vec<String> = notes.lock().notes.keys().map(u32::to_string).collect();
    Ok(Completion::ranked(ids, ctx.value()))
}

// ---------------------------------------------------------------- tools

/// Writes a new note, in Markdown. Its first line is its title.
#[tool]
async fn add_note(
    ctx: Context,
    State(notes): State<Notes>,
    #[arg(min_length = 1, max_length = 10_000)] text: String,
) -> Result<(String, ResourceLink), ToolError> {
    let title = first_line(&text).to_owned();
    let id = {
        let mut store = notes.lock();
        if store.notes.len() >= MOST {
            return Err(format!("there are {MOST} notes already: delete one first").into());
        }
        store.last_id += 1;
        let id = store.last_id;
        store.notes.insert(id, text);
        id
    };
    // A resource of its own beside the template, so that it is listed; those who listen hear that the list changed.
    let listed = DynResource::new(uri(id), title.clone()).mime_type("text/markdown").subscribe(true);
    let read = move |_: Context| std::future::ready(notes.text(id).ok_or(ResourceError::NotFound));
    ctx.server().add_resource(listed.handler(read))?;
    ctx.resource_updated("notes:///all");
    Ok((format!("noted as {id}"), ResourceLink::new(uri(id), title).mime_type("text/markdown")))
}

/// Writes a note anew.
#[tool(idempotent)]
async fn edit_note(
    ctx: Context,
    State(notes): State<Notes>,
    id: u32,
    #[arg(min_length = 1, max_length = 10_000)] text: String,
) -> Result<String, ToolError> {
    match notes.lock().notes.get_mut(&id) {
        Some(note) => *note = text,
        None => return Err(unknown(id)),
    }
    ctx.resource_updated(&uri(id));
    ctx.resource_updated("notes:///all");
    Ok(format!("note {id} is changed"))
}

/// Deletes a note for good.
#[tool(destructive)]
async fn delete_note(ctx: Context, State(notes): State<Notes>, id: u32) -> Result<String, ToolError> {
    notes.lock().notes.remove(&id).ok_or_else(|| unknown(id))?;
    ctx.server().remove_resource(&uri(id))?;
    ctx.resource_updated("notes:///all");
    Ok(format!("note {id} is deleted"))
}

// ---------------------------------------------------------------- a prompt

/// Asks for a summary of a note.
#[prompt(title = "Summarize a note")]
fn summarize(
    State(notes): State<Notes>,
    /// Id of the note.
    #[arg(complete = note_ids)]
    id: u32,
    /// How long the summary is.
    #[arg(complete = ["one sentence", "three sentences", "one page"])]
    length: Option<String>,
) -> Result<PromptMessages, PromptError> {
    let text = notes.text(id).ok_or_else(|| format!("there is no note {id}; `notes:///all` lists them"))?;
    let length = length.as_deref().unwrap_or("one sentence");
    Ok(PromptMessages::new()
        .user(format!("Summarize this note in {length}."))
        .user(EmbeddedResource::text(uri(id), text).mime_type("text/markdown")))
}

// ----------------------------------------------------------------

fn uri(id: u32) -> String {
    format!("notes:///note/{id}")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
}

fn unknown(id: u32) -> ToolError {
    format!("there is no note {id}; read `notes:///all` for those there are").into()
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
    let server = Server::new("notes-server", "1.0.0")
        .state(Notes::default())
        .resource(all_notes)
        .resource(note)
        .tool(add_note)
        .tool(edit_note)
        .tool(delete_note)
        .prompt(summarize);
    if cli.stdio { server.run_stdio().await } else { server.run(&cli.listen).await }
}
