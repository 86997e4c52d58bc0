//! The strictest lints have nothing to say about generated code.

#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    nonstandard_style,
    unused
)]
#![deny(unsafe_code, let_underscore_drop, single_use_lifetimes, trivial_casts, unused_results)]

use trunkline::{Server, State, ToolError, prompt, resource, tool};

/// A tool that is seen from outside.
#[tool]
pub async fn public(
    #[arg(default = 5)] a: u8,
    b: Option<String>,
    State(c): State<u8>,
) -> Result<String, ToolError> {
    Ok(format!("{a}{b:?}{c}"))
}

#[tool]
#[allow(unused_variables, reason = "what stands on a tool stays there")]
#[cfg(not(any()))]
pub(crate) fn conditional(#[allow(unused_mut, reason = "and on its parameters")] mut a: u8) -> String {
    String::new()
}

#[tool]
#[cfg(any())]
fn absent(a: NoSuchType) -> String {}

#[prompt]
#[deprecated]
fn old(a: String) -> String {
    a
}

#[resource("a://b")]
fn resource_of_own() -> String {
    String::new()
}

#[test]
fn what_the_macros_write_passes_the_strictest_lints() {
    #[expect(deprecated, reason = "that it is deprecated is seen through the macro")]
    let prompt = old;
    drop(Server::new("a", "1").tool(public).tool(conditional).prompt(prompt).resource(resource_of_own));
}
