//! Everything that is wrong with the keys and values of attributes.

#![allow(unused, reason = "the errors are what counts")]

mod bad_name {
    //! Names that a server would refuse.

    use trunkline::{Server, prompt, tool};

    #[tool(name = "add numbers")]
    fn add() -> String {
        String::new()
    }

    #[tool]
    fn größe() -> String {
        String::new()
    }

    #[prompt(name = " ")]
    fn ask() -> String {
        String::new()
    }

    fn server() {
        let _ = Server::new("a", "1").tool(add).tool(größe).prompt(ask);
    }
}

mod bad_uri {
    //! Addresses of resources that are no URI, or no template.

    use trunkline::resource;

    #[resource]
    fn none() -> String {
        String::new()
    }

    #[resource("today")]
    fn relative() -> String {
        String::new()
    }

    #[resource("notes://{id")]
    fn open(id: String) -> String {
        id
    }

    #[resource("notes://{;id}")]
    fn operator(id: String) -> String {
        id
    }

    #[resource("notes://{my id}")]
    fn spaced(id: String) -> String {
        id
    }

    #[resource(uri = "notes://today")]
    fn key() -> String {
        String::new()
    }
}

mod limits_of_another_type {
    //! Limits on types they cannot hold for.

    use trunkline::tool;

    #[tool]
    fn a(
        #[arg(range = 1..=5)] name: String,
        #[arg(max_length = 5)] age: u8,
        #[arg(pattern = "x")] on: bool,
        #[arg(max_length = 5)] tags: Vec<String>,
        #[arg(items(min = 1))] one: Option<String>,
        #[arg(header = "Price")] price: f64,
    ) -> String {
        String::new()
    }
}

mod limits_that_limit_nothing {
    //! Limits that are written wrong, and names that are there twice.

    use trunkline::tool;

    #[tool]
    fn a(
        #[arg(range = 10..=1)] a: u8,
        #[arg(range = 5)] b: u8,
        #[arg(range = ..)] c: u8,
        #[arg(min_length = -1)] d: String,
        #[arg(items = 5)] e: Vec<u8>,
        #[arg(items(least = 5))] f: Vec<u8>,
        #[arg(pattern = "[a-z")] g: String,
        #[arg(header = "My Region")] h: String,
        #[arg(header = "my-region")] i: String,
        #[arg(header = "My-Region")] j: String,
        #[arg(rename = "a")] k: u8,
    ) -> String {
        String::new()
    }
}

mod repeated_key {
    //! Keys given twice.

    use trunkline::tool;

    #[tool(title = "A", read_only, title = "B")]
    fn a(#[arg(default = 1, default)] a: u8, #[arg(rename = "x")] #[arg(rename = "y")] b: u8) -> String {
        String::new()
    }
}

mod unknown_arg_key {
    //! Keys `#[arg]` does not know, or not here.

    use trunkline::{prompt, resource, tool};

    #[tool]
    fn numbers(#[arg(rnage = 1..=5)] a: u8, #[arg(desc = "x")] b: u8, #[arg(wobble)] c: u8) -> String {
        String::new()
    }

    #[tool]
    fn completed(#[arg(complete = ["a"])] a: String) -> String {
        a
    }

    #[prompt]
    fn limited(#[arg(max_length = 5)] a: String) -> String {
        a
    }

    #[resource("x://{a}")]
    fn described(#[arg(description = "the a")] a: String) -> String {
        a
    }
}

mod unknown_key {
    //! Keys the attributes do not know.

    use trunkline::{prompt, resource, tool};

    #[tool(readonly, titel = "A")]
    fn a() -> String {
        String::new()
    }

    #[prompt(read_only)]
    fn b() -> String {
        String::new()
    }

    #[resource("x://y", mime_type = "text/plain", tll = "60s")]
    fn c() -> String {
        String::new()
    }
}

mod wrong_value {
    //! Keys with values of the wrong kind.

    use trunkline::tool;

    #[tool(title = 5, read_only = "yes", task = "always", description = "", crate = 7)]
    fn a() -> String {
        String::new()
    }

    #[tool(title, "b")]
    fn b() -> String {
        String::new()
    }

    #[tool("c")]
    fn c() -> String {
        String::new()
    }
}

mod hints {
    //! Hints on data that say nothing.

    use trunkline::resource;

    #[resource("x://{id}", ttl = "5 minutes", public, size = 3, priority = 2.0, audience = "all")]
    fn a(id: u8) -> String {
        String::new()
    }

    #[resource("x://y", public)]
    fn b() -> String {
        String::new()
    }
}

fn main() {}
