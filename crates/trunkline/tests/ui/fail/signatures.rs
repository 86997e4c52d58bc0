//! Functions, and what is none, that cannot be offered.

#![allow(unused, reason = "the errors are what counts")]

mod args_beside_arguments {
    //! `Args` is all arguments at once: nothing stands beside it, and only tools have it.

    use trunkline::{Args, prompt, tool};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Point {
        x: u8,
    }

    #[tool]
    fn both(Args(point): Args<Point>, scale: u8) -> String {
        String::new()
    }

    #[tool]
    fn twice(Args(from): Args<Point>, Args(to): Args<Point>) -> String {
        String::new()
    }

    #[prompt]
    fn ask(Args(point): Args<Point>) -> String {
        String::new()
    }
}

mod generics {
    //! Generics and `where`: clients call with JSON.

    use trunkline::tool;

    #[tool]
    async fn show<T: ToString>(value: T) -> String {
        value.to_string()
    }

    #[tool]
    fn bounded(value: u8) -> String
    where
        u8: Copy,
    {
        value.to_string()
    }
}

mod impl_trait_argument {
    //! An `impl Trait` argument has no schema.

    use trunkline::{Server, tool};

    #[tool]
    async fn shout(text: impl Into<String>) -> String {
        text.into().to_uppercase()
    }

    #[tool]
    fn all(texts: Vec<impl Into<String>>) -> String {
        String::new()
    }

    fn server() {
        let _ = Server::new("a", "1").tool(shout).tool(all);
    }
}

mod not_a_function {
    //! The attributes on what is no function.

    use trunkline::{prompt, resource, tool};

    #[tool]
    struct Calculator;

    #[tool(read_only)]
    impl Calculator {
        fn add(&self) {}
    }

    #[prompt]
    enum Choice {
        A,
    }

    #[resource("x://y")]
    const X: u8 = 1;
}

mod nothing_returned {
    //! Prompts and resources that return nothing, and a future in place of `async fn`.

    use trunkline::{prompt, resource, tool};

    #[prompt]
    fn ask(name: String) {}

    #[resource("x://y")]
    async fn read() {}

    #[tool]
    fn later() -> impl Future<Output = String> {
        async { String::new() }
    }
}

mod patterns {
    //! Parameters without a name, and attributes where they have no place.

    use trunkline::{Context, State, tool};

    struct Db;
    struct Point {
        x: u8,
        y: u8,
    }

    #[tool]
    fn a(Point { x, y }: Point, (b, c): (u8, u8), _: u8, State(db): Db) -> String {
        String::new()
    }

    #[tool]
    fn b(#[arg(default)] State(db): State<Db>, #[cfg(test)] x: u8, #[arg = "x"] y: u8) -> String {
        String::new()
    }
}

mod reference_argument {
    //! Borrowed arguments.

    use trunkline::{Context, State, tool};

    struct Point;

    #[tool]
    async fn borrowed(name: &str, words: &[String], point: &Point, maybe: Option<&str>) -> String {
        String::new()
    }

    #[tool]
    async fn context(ctx: &mut Context, state: &State<Point>) -> String {
        String::new()
    }
}

mod self_receiver {
    //! A method.

    use trunkline::tool;

    struct Calculator {
        factor: f64,
    }

    impl Calculator {
        /// Multiplies.
        #[tool]
        async fn multiply(&self, #[arg(range = 0.0..)] a: f64) -> String {
            (self.factor * a).to_string()
        }
    }
}

mod several_at_once {
    //! All mistakes of one item are shown together.

    use trunkline::tool;

    /// All mistakes of one item are shown together.
    #[tool(name = "my tool", readonly)]
    unsafe fn many<T>(name: &str, #[arg(rnage = 1..)] count: u8, #[arg(range = 1..)] text: String) -> String {
        String::new()
    }
}

mod template_variables {
    //! Variables without a parameter, and parameters without a variable.

    use trunkline::{Server, State, resource};

    /// The template has a variable that is no parameter.
    #[resource("notes://{user}/{id}")]
    fn missing(id: u64) -> String {
        id.to_string()
    }

    /// The function has a parameter that is no variable.
    #[resource("notes://{id}")]
    fn unknown(id: u64, user: String) -> String {
        id.to_string() + &user
    }

    /// A misspelt one is both.
    #[resource("notes://{user}")]
    fn misspelt(State(db): State<u8>, usr: String) -> String {
        usr
    }

    /// No template at all.
    #[resource("notes://today")]
    fn fixed(id: u64) -> String {
        id.to_string()
    }

    /// What is in the query may be missing.
    #[resource("notes://all{?page}")]
    fn query(page: u32) -> String {
        page.to_string()
    }

    fn server() {
        let _ = Server::new("a", "1").resource(missing).resource(unknown).resource(misspelt).resource(fixed).resource(query);
    }
}

fn main() {}
