//! Expansions read back as Rust: what is in them, what is not, and what is left of an item with mistakes.

use proc_macro2::TokenTree;
use quote::ToTokens;
use syn::File;

use super::*;

fn run(owner: Owner, attribute: &str, item: &str) -> File {
    let tokens = expand(owner, attribute.parse().unwrap(), item.parse().unwrap());
    syn::parse2(tokens.clone()).unwrap_or_else(|error| panic!("{error} in {tokens}"))
}

/// Returns the text without spaces, so that it can be searched.
fn text(file: &File) -> String {
    file.to_token_stream().to_string().replace(' ', "")
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(&part.replace(' ', "")), "`{part}` is not in {text}");
    }
}

const TOOL: &str = "
    /// Adds.
    pub async fn add(
        ctx: Context,
        State(db): State<Db>,
        /// left
        #[arg(default = 1.0, range = 0.0..)] a: f64,
        #[arg(rename = \"bee\")] b: Option<f64>,
    ) -> Result<String, ToolError> { body() }";

#[test]
fn a_tool_becomes_a_type_a_function_and_an_implementation() {
    let file = run(Owner::Tool, "read_only, title = \"Add\", task = \"required\"", TOOL);
    let text = text(&file);
    holds(
        &text,
        &[
            "pub struct add { }",
            "pub fn add() -> add",
            "pub async fn call(ctx: Context, State(db): State<Db>, a: f64, b: Option<f64>,) -> Result<String, ToolError> { body() }",
            "::trunkline::ToolSpec::new(\"add\").title(\"Add\").description(\"Adds.\").input::<TrunklineArguments>()",
            ".output::<Result<String, ToolError> >().read_only(true).task(::trunkline::TaskMode::Required)",
            "#[serde(default = \"TrunklineArguments::default_0\")] #[schemars(description = \"left\")] #[schemars(extend(\"minimum\" = 0.0))] a: f64,",
            "#[serde(rename = \"bee\")] b: Option<f64>",
            "fn default_0() -> f64 { 1.0 }",
            "add::call(::core::clone::Clone::clone(&trunkline_ctx), ::trunkline::State(trunkline_state_1), trunkline_args.a, trunkline_args.b).await",
        ],
    );
    assert!(!text.contains("unwrap") && !text.contains("#[arg"), "{text}");
}

#[test]
fn a_tool_without_arguments_has_no_type_for_them() {
    let file = run(Owner::Tool, "", "fn now() -> String { x }");
    let text = text(&file);
    holds(&text, &["arguments::<::trunkline::macros_support::NoArguments>()", "= now::call();"]);
    assert!(!text.contains("struct TrunklineArguments") && !text.contains(".input"), "{text}");
}

#[test]
fn conditions_hold_for_every_item_and_docs_are_never_missing() {
    let file = run(Owner::Tool, "", "#[cfg(x)] #[allow(y)] #[deprecated] fn now() -> String { x }");
    let text = text(&file);
    assert_eq!(text.matches("#[cfg(x)]").count(), 4, "{text}");
    assert_eq!(text.matches("#[allow(y)]").count(), 1, "{text}");
    assert_eq!(text.matches("#[deprecated]").count(), 1, "{text}");
    assert_eq!(text.matches("Thetool`now`.").count(), 3, "{text}");
}

#[test]
fn a_prompt_reads_text_and_completes() {
    let item = "fn ask(a: Day, b: Option<Day>, #[arg(default = 5, complete = days)] c: u8, #[arg(default, complete = [\"x\"])] d: u8) -> String { x }";
    let file = run(Owner::Prompt, "crate = \"a::b\"", item);
    holds(
        &text(&file),
        &[
            "a::b::PromptArgument::new(\"a\").required(true)",
            "a::b::PromptArgument::new(\"c\").required(false).completes(true)",
            "a::b::macros_support::prompt_argument::<Day>(&trunkline_ctx, \"a\")?",
            "a::b::macros_support::optional_prompt_argument::<Day>(&trunkline_ctx, \"b\")?",
            "\"c\" => a::b::macros_support::complete_with(days(trunkline_typed))",
            "\"d\" => a::b::macros_support::complete_from(&[\"x\"], &trunkline_typed)",
        ],
    );
}

#[test]
fn a_resource_reads_the_variables_of_its_template() {
    let file = run(
        Owner::Resource,
        "\"x://{a}{?b}\", mime = \"text/plain\", subscribe",
        "fn it(b: Option<u8>, a: u8) -> String { x }",
    );
    holds(
        &text(&file),
        &[
            "::trunkline::ResourceSpec::new(\"x://{a}{?b}\", \"it\").mime_type(\"text/plain\").subscribe(true)",
            "let trunkline_variable_0 = ::trunkline::macros_support::optional_variable::<u8>(&trunkline_ctx, \"b\")?;",
            "it::call(trunkline_variable_0, trunkline_variable_1)",
        ],
    );
}

#[test]
fn streams_are_wrapped_before_they_become_content() {
    let text_of = |item: &str| text(&run(Owner::Tool, "", item));
    holds(
        &text_of("fn a() -> impl Stream<Item = u8> { x }"),
        &["into_outcome(::trunkline::Parts(trunkline_result)"],
    );
    holds(
        &text_of("fn a() -> Result<impl Stream<Item = u8>, E> { x }"),
        &["into_outcome(::core::result::Result::map(trunkline_result, ::trunkline::Parts)"],
    );
    assert!(!text_of("fn a() -> Json<impl X> { x }").contains(".output"));
}

#[test]
fn an_item_with_mistakes_keeps_its_names() {
    let file = run(Owner::Tool, "nmae = \"x\"", "async fn add<T>(a: &str) -> String { x }");
    let text = text(&file);
    assert_eq!(text.matches("compile_error!").count(), 3, "{text}");
    holds(&text, &["struct add", "fn add() -> add", "impl ::trunkline::Tool for add"]);
}

#[test]
fn what_is_no_function_stays_as_it_is() {
    for (item, word) in
        [("struct A;", "a struct"), ("impl A { fn x(&self) {} }", "an `impl`"), ("mod a {}", "a module")]
    {
        let text = text(&run(Owner::Tool, "", item));
        holds(&text, &[item, word]);
    }
    let method = run(Owner::Tool, "", "fn add(&self, #[arg(default)] a: u8) -> String { x }");
    let text = text(&method);
    holds(&text, &["fn add(&self, a: u8) -> String", "compile_error!"]);
    assert!(!text.contains("struct add"), "{text}");
}

#[test]
fn an_expansion_is_small() {
    fn count(tokens: TokenStream) -> usize {
        tokens
            .into_iter()
            .map(|token| if let TokenTree::Group(group) = token { 1 + count(group.stream()) } else { 1 })
            .sum()
    }
    let tokens = expand(Owner::Tool, TokenStream::new(), TOOL.parse().unwrap());
    assert!(count(tokens.clone()) < 800, "{} tokens", count(tokens));
}
