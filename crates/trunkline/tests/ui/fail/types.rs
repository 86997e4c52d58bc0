//! Types that are no argument, no content, no error, and no tool.

#![allow(unused, reason = "the errors are what counts")]

mod completion {
    //! Completions that are no list and no function, and functions that return none.

    use trunkline::{CompletionContext, Server, prompt};

    fn number(_: CompletionContext) -> u8 {
        5
    }

    fn no_parameter() -> Vec<String> {
        Vec::new()
    }

    #[prompt]
    fn a(
        #[arg(complete = "x")] a: String,
    ) -> String {
        a
    }

    #[prompt]
    fn b(
        #[arg(complete = number)] b: String,
        #[arg(complete = no_parameter)] c: String,
        #[arg(complete = [1, 2])] d: String,
    ) -> String {
        b + &c + &d
    }

    fn server() {
        let _ = Server::new("a", "1").prompt(a).prompt(b);
    }
}

mod no_schema {
    //! An argument whose type lacks `Deserialize` and `JsonSchema`.

    use trunkline::{Server, tool};

    struct Point;

    #[tool]
    fn draw(point: Point) -> String {
        String::new()
    }

    fn server() {
        let _ = Server::new("a", "1").tool(draw);
    }
}

mod not_a_tool {
    //! A function without `#[tool]`, and a tool where a prompt is expected.

    use trunkline::{Server, tool};

    async fn forgotten(a: f64) -> String {
        a.to_string()
    }

    fn without_arguments() -> String {
        String::new()
    }

    #[tool]
    fn good() -> String {
        String::new()
    }

    fn server() {
        let _ = Server::new("a", "1").tool(forgotten).tool(without_arguments).tool("text").prompt(good);
    }
}

mod not_content {
    //! Return types that are no content.

    use trunkline::{Server, prompt, resource, tool};

    #[derive(serde::Serialize, schemars::JsonSchema)]
    struct Weather {
        degrees: f64,
    }

    #[tool]
    async fn weather(city: String) -> Weather {
        Weather { degrees: 1.0 }
    }

    #[tool]
    fn maybe(city: String) -> Result<Weather, trunkline::ToolError> {
        Ok(Weather { degrees: 1.0 })
    }

    #[prompt]
    fn ask() -> Weather {
        Weather { degrees: 1.0 }
    }

    #[resource("weather://today")]
    fn today() -> Weather {
        Weather { degrees: 1.0 }
    }

    fn server() {
        let _ = Server::new("a", "1").tool(weather).tool(maybe).prompt(ask).resource(today);
    }
}

mod not_from_text {
    //! Arguments of prompts and variables of templates that cannot be read from text.

    use trunkline::{Server, prompt, resource};

    struct Day;

    #[prompt]
    fn plan(day: Day, other: Option<Day>) -> String {
        String::new()
    }

    #[resource("plan://{day}")]
    fn planned(day: Vec<u8>) -> String {
        String::new()
    }

    fn server() {
        let _ = Server::new("a", "1").prompt(plan).resource(planned);
    }
}

mod wrong_default {
    //! Defaults of another type than the argument.

    use trunkline::tool;

    #[tool]
    fn a(#[arg(default = 1)] a: f64, #[arg(default = 1)] c: Option<u8>) -> String {
        String::new()
    }
}

mod wrong_error {
    //! An error that is no `ToolError` and becomes none.

    use trunkline::{Server, tool};

    struct MyError;

    #[tool]
    async fn fails() -> Result<String, MyError> {
        Err(MyError)
    }

    fn server() {
        let _ = Server::new("a", "1").tool(fails);
    }
}

fn main() {}
