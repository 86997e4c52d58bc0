//! Every key of `#[arg]`, and what the schema says for it.

#![deny(warnings)]

use trunkline::{Server, Tool, tool};

const MOST: usize = 9;
const HELP: &str = "from a constant";

/// Takes everything.
#[tool]
fn everything(
    /// Doc comments are descriptions,
    /// on two lines.
    documented: String,
    #[arg(description = "said in the attribute")] described: u8,
    #[arg(description = HELP)] by_constant: u8,
    #[arg(default)] flag: bool,
    #[arg(default = 1.5, range = -1.0..=9.5)] number: f64,
    #[arg(default = "celsius")] unit: String,
    #[arg(default = Some(3))] maybe: Option<u32>,
    #[arg(range = 1..)] from_one: u64,
    #[arg(range = ..10)] below_ten: i32,
    #[arg(min_length = 1, max_length = MOST)] short: String,
    #[arg(pattern = "^[a-z]+$")] pattern: Option<String>,
    #[arg(format = "date")] day: String,
    #[arg(items(min = 1, max = 3))] tags: Vec<String>,
    #[arg(rename = "userId")] user_id: u64,
    #[arg(header = "Region")] region: String,
    r#type: String,
    _unused: Option<bool>,
    mut count: u8,
) -> String {
    count += 1;
    format!(
        "{documented}{described}{by_constant}{flag}{number}{unit}{maybe:?}{from_one}{below_ten}{short}{pattern:?}{day}{tags:?}{user_id}{region}{type}{count}"
    )
}

fn main() {
    let _ = Server::new("a", "1").tool(everything);
    let spec = format!("{:?}", everything().spec());
    for part in [
        "Doc comments are descriptions, on two lines.",
        "said in the attribute",
        "from a constant",
        "userId",
        "celsius",
        "x-mcp-header",
    ] {
        assert!(spec.contains(part), "{part} in {spec}");
    }
    assert!(!spec.contains("_unused"), "{spec}");
}
