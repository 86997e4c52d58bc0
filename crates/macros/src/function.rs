//! A function under one of the attributes: what may stand there, and what it takes and returns.

use proc_macro2::TokenStream;
use syn::{FnArg, Ident, ItemFn, ReturnType, Safety, Type};

use crate::arg::Owner;
use crate::docs;
use crate::error::Errors;
use crate::parameter::{Argument, Parameter};
use crate::types;

/// A function that becomes a tool, a prompt or a resource.
pub(crate) struct Function {
    /// The function as the compiler gets it, without `#[arg]` and without doc comments on parameters.
    pub(crate) item: ItemFn,
    /// What it takes, in its order; without those that are a mistake.
    pub(crate) parameters: Vec<Parameter>,
    /// The text of its doc comment.
    pub(crate) description: Option<TokenStream>,
}

/// How the value of a function becomes a result.
pub(crate) enum Output {
    /// The type can be named.
    Named(Box<Type>),
    /// It holds an `impl Trait`, so it has no name.
    Unnamed,
    /// `impl Stream`.
    Stream,
    /// `Result<impl Stream, E>`.
    ResultOfStream,
}

impl Function {
    /// Understands a function and notes all that is wrong with it.
    pub(crate) fn read(mut item: ItemFn, owner: Owner, errors: &mut Errors) -> Self {
        signature(&item, owner, errors);
        returns(&item, owner, errors);
        let mut parameters = Vec::new();
        for input in &mut item.sig.inputs {
            match input {
                FnArg::Receiver(receiver) => errors.on(
                    receiver,
                    format!(
                        "a {} has no `self`; move the function out of the `impl` and take what it needs as `State<T>`",
                        owner.word()
                    ),
                ),
                FnArg::Typed(parameter) => parameters.extend(Parameter::read(parameter, owner, errors)),
            }
        }
        let function = Self { description: docs::description(&item.attrs), item, parameters };
        function.all_or_each(errors);
        function.distinct(errors);
        function
    }

    /// Returns the name of the function.
    pub(crate) fn ident(&self) -> &Ident {
        &self.item.sig.ident
    }

    /// Returns whether the function is a method.
    pub(crate) fn is_method(&self) -> bool {
        self.item.sig.receiver().is_some()
    }

    /// Returns the arguments that clients send one by one.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.parameters.iter().filter_map(Parameter::argument)
    }

    /// Returns what the function returns.
    pub(crate) fn output(&self) -> Output {
        let Some(ty) = types::returned(&self.item.sig.output) else {
            return Output::Named(Box::new(syn::parse_quote!(())));
        };
        let is_stream = |ty: &Type| types::impl_trait_name(ty).is_some_and(|name| name == "Stream");
        if is_stream(ty) {
            Output::Stream
        } else if types::result_inner(ty).is_some_and(is_stream) {
            Output::ResultOfStream
        } else if types::first_impl_trait(ty).is_some() {
            Output::Unnamed
        } else {
            Output::Named(Box::new(ty.clone()))
        }
    }

    /// Notes `Args` beside other arguments, and a second `Args`.
    fn all_or_each(&self, errors: &mut Errors) {
        let mut all = self.parameters.iter().filter_map(|parameter| match parameter {
            Parameter::Args(ty) => Some(ty),
            _ => None,
        });
        if all.next().is_none() {
            return;
        }
        for second in all {
            errors.on(second, "`Args` is the whole arguments object, so there is one; join the two types");
        }
        for argument in self.arguments() {
            let text = format!(
                "`Args` is the whole arguments object; make `{}` a member of its type, or declare all arguments one by one",
                argument.ident
            );
            errors.on(&argument.ident, text);
        }
    }

    /// Notes two arguments with one name, or with one header.
    fn distinct(&self, errors: &mut Errors) {
        let (mut names, mut headers) = (Vec::new(), Vec::new());
        for argument in self.arguments() {
            if names.contains(&argument.wire.as_str()) {
                let text = format!("two arguments are called `{}`; rename one of them", argument.wire);
                match &argument.attribute.rename {
                    Some(rename) => errors.at(rename.span(), text),
                    None => errors.on(&argument.ident, text),
                }
            }
            names.push(&argument.wire);
            let Some(header) = &argument.attribute.header else { continue };
            let name = header.value().to_ascii_lowercase();
            if headers.contains(&name) {
                let text = format!(
                    "two arguments use the header `{}`; upper and lower case are the same",
                    header.value()
                );
                errors.at(header.span(), text);
            }
            headers.push(name);
        }
    }
}

/// Notes what a function has that cannot be called with JSON.
fn signature(item: &ItemFn, owner: Owner, errors: &mut Errors) {
    let (sig, word) = (&item.sig, owner.word());
    if !sig.generics.params.is_empty() {
        errors.on(
            &sig.generics,
            format!("a {word} has no generics, clients call it with JSON; write the type, or an enum of the types it takes"),
        );
    } else if let Some(clause) = &sig.generics.where_clause {
        errors.on(clause, format!("a {word} has no `where`; remove it"));
    }
    if let Safety::Unsafe(unsafety) = &sig.safety {
        errors.on(
            unsafety,
            format!("a {word} is called with what strangers send, so it is not `unsafe`; remove it"),
        );
    }
    if let Some(abi) = &sig.abi {
        errors.on(abi, format!("a {word} is a function of Rust; remove `extern`"));
    }
    if let Some(variadic) = &sig.variadic {
        errors.on(variadic, "arguments have names; take a list as `Vec<T>`");
    }
}

/// Notes a return type that can be told to be wrong by how it is written.
fn returns(item: &ItemFn, owner: Owner, errors: &mut Errors) {
    let example = match owner {
        Owner::Tool => "-> String`, `-> Json<T>` or `-> Result<.., ToolError>",
        Owner::Prompt => "-> String`, `-> PromptMessages` or `-> Result<.., PromptError>",
        Owner::Resource => "-> String`, `-> Vec<u8>` or `-> Result<.., ResourceError>",
    };
    match &item.sig.output {
        // A tool that returns nothing says that it is done.
        ReturnType::Default if owner == Owner::Tool => {}
        ReturnType::Default => {
            errors.on(&item.sig.ident, format!("a {} returns something; write `{example}`", owner.word()));
        }
        ReturnType::Type(_, ty) if types::impl_trait_name(ty).is_some_and(|name| name == "Future") => {
            errors.on(ty, "write `async fn` and the type the future ends in");
        }
        ReturnType::Type(_, ty) => {
            let stream =
                types::impl_trait_name(ty).or(types::result_inner(ty).and_then(types::impl_trait_name));
            if owner != Owner::Tool && stream.is_some_and(|name| name == "Stream") {
                errors.on(
                    ty,
                    format!("a {} is sent whole; collect the stream and write `{example}`", owner.word()),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, owner: Owner) -> (Function, Vec<String>) {
        let mut errors = Errors::default();
        let function = Function::read(syn::parse_str(text).unwrap(), owner, &mut errors);
        (function, errors.texts())
    }

    #[test]
    fn a_good_function_has_no_mistake() {
        let (function, errors) = read(
            "/// Adds.\nasync fn add(ctx: Context, State(db): State<Db>, /// left\n a: f64, b: Option<f64>) -> String { x }",
            Owner::Tool,
        );
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(function.parameters.len(), 4);
        assert_eq!(
            function.arguments().map(|argument| argument.wire.as_str()).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert!(matches!(function.output(), Output::Named(_)));
        let item = &function.item;
        assert!(!quote::quote!(#item).to_string().contains("left"));
    }

    #[test]
    fn streams_and_unnamed_types_are_told_apart() {
        let output = |text: &str| match read(text, Owner::Tool).0.output() {
            Output::Stream => "stream",
            Output::ResultOfStream => "result",
            Output::Unnamed => "unnamed",
            Output::Named(_) => "named",
        };
        assert_eq!(output("fn f() -> impl Stream<Item = String> {}"), "stream");
        assert_eq!(output("fn f() -> Result<impl futures::Stream<Item = u8>, E> {}"), "result");
        assert_eq!(output("fn f() -> Json<impl Serialize> {}"), "unnamed");
        assert_eq!(output("fn f() -> Json<u8> {}"), "named");
        assert_eq!(output("fn f() {}"), "named");
    }

    #[test]
    fn all_mistakes_of_a_signature_come_at_once() {
        let (_, errors) = read("unsafe extern \"C\" fn f<T>(&self, a: &str, b: impl Copy) {}", Owner::Tool);
        assert_eq!(errors.len(), 6, "{errors:?}");
        assert!(read("fn f() {}", Owner::Prompt).1[0].contains("-> PromptMessages"));
        let (_, errors) = read("fn f() -> impl Future<Output = String> {}", Owner::Tool);
        assert!(errors[0].contains("write `async fn`"), "{errors:?}");
        let (_, errors) = read("fn f() -> impl Stream<Item = String> {}", Owner::Prompt);
        assert!(errors[0].contains("sent whole"), "{errors:?}");
    }

    #[test]
    fn args_stands_alone() {
        let (_, errors) = read("fn f(Args(a): Args<A>, b: u8, Args(c): Args<C>) -> String {}", Owner::Tool);
        assert!(errors[0].contains("there is one") && errors[1].contains("make `b` a member"), "{errors:?}");
    }

    #[test]
    fn two_arguments_share_neither_name_nor_header() {
        let (_, errors) = read(
            "fn f(#[arg(header = \"A\")] a: u8, #[arg(rename = \"a\", header = \"a\")] b: u8) -> String {}",
            Owner::Tool,
        );
        assert!(errors[0].contains("are called `a`") && errors[1].contains("the header `a`"), "{errors:?}");
    }
}
