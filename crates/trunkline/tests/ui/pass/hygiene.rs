//! A module where the names of the standard prelude mean something else, and where locals are called like tools.

#![deny(warnings)]
#![allow(dead_code)]

mod own {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    pub struct Context {
        pub a: String,
    }
}

mod hostile {
    pub use super::own::Context;
    pub struct Result;
    pub struct Option;
    pub struct String;
    pub struct Box;
    pub struct Vec;
    pub struct None;
    pub struct Ok;
    pub struct Err;
    pub struct Tool;
    pub struct Server;
    pub struct Failure;
    pub struct Arguments;
    pub struct State;
    pub trait Clone {}
    pub trait Default {}
    pub trait From {}
    pub mod core {}
    pub mod std {}
    pub mod serde {}
    pub mod schemars {}

    use trunkline::{prompt, resource, tool};

    /// Doc.
    #[tool]
    pub async fn search(
        #[arg] context: Context,
        #[arg(default = "a")] text: ::std::string::String,
        maybe: ::std::option::Option<u8>,
        ctx: &::trunkline::Context,
        args: u8,
        arguments: u8,
        error: u8,
    ) -> ::std::result::Result<::std::string::String, ::trunkline::ToolError> {
        let _ = (ctx, maybe, args, arguments, error);
        ::std::result::Result::Ok(context.a + &text)
    }

    #[prompt]
    pub fn query(#[arg(default = 5)] search: u8, given: ::std::string::String) -> ::std::string::String {
        let _ = search;
        given
    }

    #[resource("x://{search}")]
    pub fn note(search: ::std::string::String) -> ::std::string::String {
        let note = search;
        note
    }
}

fn main() {
    // A tool inside of a function, and a local variable that is called like a tool.
    /// Doc.
    #[trunkline::tool]
    fn local(local: u8) -> String {
        local.to_string()
    }
    use hostile::{note, query, search};
    let _ = trunkline::Server::new("a", "1").tool(search).tool(local).prompt(query).resource(note);
    let search = 5;
    let local = search;
    assert_eq!(local, 5);
}
