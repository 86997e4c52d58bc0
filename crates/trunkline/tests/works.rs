//! Everything the attributes take, each kind in a module that is run.

#![deny(warnings)]
#![expect(
    unreachable_pub,
    unused_qualifications,
    clippy::unwrap_used,
    clippy::let_and_return,
    reason = "written in every way that programs may have it"
)]

mod arguments {
    //! Every key of `#[arg]`, and what the schema says for it.

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

    pub fn run() {
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
}

mod calculator {
    //! The calculator of the README, with its function called as a test would.

    use trunkline::{Server, ToolError, tool};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(rename_all = "lowercase")]
    pub enum Operation {
        Add,
        Divide,
    }

    /// Performs basic arithmetic.
    #[tool]
    async fn calculate(operation: Operation, a: f64, b: f64) -> Result<String, ToolError> {
        match operation {
            Operation::Add => Ok((a + b).to_string()),
            Operation::Divide if b == 0.0 => Err("division by zero".into()),
            Operation::Divide => Ok((a / b).to_string()),
        }
    }

    #[tokio::main]
    pub async fn run() {
        let server = Server::new("calculator-server", "1.0.0").tool(calculate);
        drop(server);
        assert_eq!(calculate::call(Operation::Add, 1.0, 2.0).await.unwrap(), "3");
        assert!(calculate::call(Operation::Divide, 1.0, 0.0).await.is_err());
    }
}

mod extractors {
    //! `Context`, `State` and `Args`, by value, by reference and taken apart.

    use std::sync::Arc;

    use trunkline::{
        Args, Context, Json, Prompt, PromptMessages, Server, State, Tool, prompt, resource, tool,
    };

    #[derive(Clone)]
    pub struct Db(Arc<str>);

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    pub struct Point {
        x: i64,
        y: i64,
    }

    #[derive(serde::Serialize, schemars::JsonSchema)]
    pub struct Sum {
        sum: i64,
    }

    /// By value, beside an argument.
    #[tool]
    pub async fn by_value(ctx: Context, State(db): State<Db>, name: String) -> String {
        drop(ctx);
        format!("{} {name}", db.0)
    }

    /// By reference.
    #[tool]
    pub async fn by_reference(ctx: &Context, state: State<Db>) -> Result<String, trunkline::ToolError> {
        let _ = ctx.caller();
        Ok(state.0.0.to_string())
    }

    /// All arguments at once.
    #[tool(
        title = "Sum",
        read_only,
        destructive = false,
        idempotent,
        open_world = false,
        icon = "https://example.org/i.png",
        task
    )]
    pub fn sum(Args(Point { x, y }): Args<Point>, _: trunkline::State<Db>) -> Json<Sum> {
        Json(Sum { sum: x + y })
    }

    #[prompt]
    pub fn greet(_ctx: &trunkline::Context, State(_): State<Db>, name: String) -> PromptMessages {
        PromptMessages::new().user(name)
    }

    #[resource("db://name")]
    pub async fn db_name(State(db): State<Db>, ctx: Context) -> String {
        drop(ctx);
        db.0.to_string()
    }

    #[tokio::main]
    pub async fn run() {
        let _ = Server::new("a", "1")
            .state(Db("main".into()))
            .tool(by_value)
            .tool(by_reference)
            .tool(sum)
            .prompt(greet)
            .resource(db_name);
        assert_eq!(sum::call(Args(Point { x: 1, y: 2 }), State(Db("a".into()))).0.sum, 3);
        let spec = format!("{:?}", sum().spec());
        assert!(spec.contains("Optional") && spec.contains("i.png") && spec.contains("Db"), "{spec}");
        assert!(format!("{:?}", greet().spec()).contains("name"));
    }
}

mod hygiene {
    //! A module where the names of the standard prelude mean something else, and where locals are called like tools.

    #![deny(warnings)]
    #![allow(dead_code, reason = "most of the names are there to be in the way")]

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

    pub fn run() {
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
}

mod prompts_resources {
    //! Prompts and resources, with completions of every kind.

    use trunkline::{
        Completion, CompletionContext, Failure, Prompt, PromptError, PromptMessages, Resource, ResourceError,
        Server, prompt, resource,
    };

    fn cities(typed: CompletionContext) -> Vec<String> {
        vec![typed.value().to_owned()]
    }

    async fn users(typed: CompletionContext) -> Result<Completion, Failure> {
        Ok(Completion::ranked(["ann", "bob"], typed.value()))
    }

    const LANGUAGE: &str = "rust";

    /// Reviews code.
    #[prompt(title = "Review", icon = "https://example.org/i.png")]
    async fn review(
        /// The code.
        code: String,
        #[arg(complete = ["de", "en", LANGUAGE])] language: Option<String>,
        #[arg(complete = cities, default = "Berlin")] city: String,
        #[arg(complete = users, rename = "userName")] user: Option<String>,
        #[arg(default)] depth: u8,
        #[arg(default = 7)] width: u16,
        #[arg(default = Some(8))] height: Option<u16>,
    ) -> Result<PromptMessages, PromptError> {
        Ok(PromptMessages::new().user(format!("{code}{language:?}{city}{user:?}{depth}{width}{height:?}")))
    }

    #[prompt(name = "short one", description = "Says hello.")]
    fn short() -> String {
        "hello".into()
    }

    /// Today.
    #[resource("notes://today", name = "today's note", mime = "text/plain", title = "Today", subscribe)]
    fn today() -> &'static str {
        "nothing"
    }

    /// A note.
    #[resource("notes://{user}/{id}{?page,userName}", mime = "text/markdown")]
    async fn note(
        id: u64,
        #[arg(complete = users)] user: String,
        page: Option<u32>,
        #[arg(rename = "userName")] name: Option<String>,
    ) -> Result<Vec<u8>, ResourceError> {
        if id == 0 {
            Err(ResourceError::NotFound)
        } else {
            Ok(format!("{id}{user}{page:?}{name:?}").into_bytes())
        }
    }

    pub fn run() {
        let _ = Server::new("a", "1").prompt(review).prompt(short).resource(today).resource(note);
        let spec = format!("{:?}", review().spec());
        assert!(
            spec.contains("userName") && spec.contains("The code.") && spec.contains("Reviews code."),
            "{spec}"
        );
        let spec = format!("{:?}", note().spec());
        assert!(
            spec.contains("notes://{user}/{id}{?page,userName}") && spec.contains("text/markdown"),
            "{spec}"
        );
    }
}

mod renamed {
    //! The crate under another name, named by a text or by a path.

    mod vendor {
        pub use trunkline as mcp;
    }

    use vendor::mcp::{Server, prompt, resource, tool};

    /// One.
    #[tool(crate = "crate::renamed::vendor::mcp")]
    async fn one(a: u8, #[arg(default = 2)] b: u8) -> String {
        (a + b).to_string()
    }

    #[prompt(crate = crate::renamed::vendor::mcp)]
    fn two(#[arg(complete = ["a"])] a: String) -> String {
        a
    }

    #[resource("x://{a}", crate = crate::renamed::vendor::mcp)]
    fn three(a: String) -> String {
        a
    }

    pub fn run() {
        let _ = Server::new("a", "1").tool(one).prompt(two).resource(three);
    }
}

mod returns {
    //! Sync functions, streams, `impl Trait`, nothing at all.

    use std::borrow::Cow;

    use futures_util::stream::{self, Stream};
    use trunkline::{Json, Server, ToolError, tool};

    #[tool]
    fn text(name: String) -> String {
        name
    }

    #[tool]
    fn nothing() {}

    #[tool]
    const fn constant() -> &'static str {
        "x"
    }

    #[tool]
    fn borrowed() -> Cow<'static, str> {
        "x".into()
    }

    #[tool]
    fn parts(count: u32) -> impl Stream<Item = String> {
        stream::iter((0..count).map(|number| number.to_string()))
    }

    #[tool]
    async fn parts_or_not(count: u32) -> Result<impl Stream<Item = String> + Send, ToolError> {
        if count > 10 {
            return Err(ToolError::new("too many"));
        }
        Ok(stream::iter((0..count).map(|number| number.to_string())))
    }

    #[tool]
    async fn unnamed() -> Json<impl serde::Serialize + schemars::JsonSchema> {
        Json(5)
    }

    pub fn run() {
        let _ = Server::new("a", "1")
            .tool(text)
            .tool(nothing)
            .tool(constant)
            .tool(borrowed)
            .tool(parts)
            .tool(parts_or_not)
            .tool(unnamed);
        assert_eq!(text::call("a".into()), "a");
    }
}

#[test]
fn what_the_macros_take_works() {
    arguments::run();
    calculator::run();
    extractors::run();
    hygiene::run();
    prompts_resources::run();
    renamed::run();
    returns::run();
}
