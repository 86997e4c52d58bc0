//! One parameter of a function: an extractor, or an argument that clients send.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Ident, Pat, PatIdent, PatType, Type, TypeReference};

use crate::arg::{self, ArgAttribute, Owner};
use crate::docs;
use crate::error::Errors;
use crate::types;

/// What a parameter is given.
pub(crate) enum Parameter {
    /// The context, by value or by reference.
    Context { by_reference: bool },
    /// Shared state of that type.
    State(Type),
    /// All arguments as one value of that type.
    Args(Type),
    /// One argument.
    Argument(Box<Argument>),
}

/// One argument that clients send.
pub(crate) struct Argument {
    /// Its name in the function.
    pub(crate) ident: Ident,
    /// Its name on the wire.
    pub(crate) wire: String,
    pub(crate) ty: Type,
    /// `T`, when the type is `Option<T>`.
    pub(crate) optional: Option<Type>,
    pub(crate) description: Option<TokenStream>,
    pub(crate) attribute: ArgAttribute,
}

impl Parameter {
    /// Understands a parameter, and takes out of it what the compiler would not accept there: `#[arg]` and doc comments.
    /// `None` when it is neither; then the mistake is noted.
    pub(crate) fn read(parameter: &mut PatType, owner: Owner, errors: &mut Errors) -> Option<Self> {
        let keys = arg::take(&mut parameter.attrs, errors);
        let documented = docs::description(&parameter.attrs);
        parameter.attrs.retain(|attribute| !docs::is_doc(attribute));
        refuse_cfg(parameter, errors);
        match extractor(&parameter.ty) {
            Some(Self::Context { .. }) if keys.is_some() => {}
            Some(Self::Args(_)) if owner != Owner::Tool => {
                let word = if owner == Owner::Prompt { "arguments" } else { "variables" };
                errors.on(&parameter.ty, format!("`Args` is for tools; declare the {word} one by one"));
                return None;
            }
            Some(_) if keys.is_some() => {
                errors.on(&parameter.pat, "`#[arg]` describes an argument, and this is none; remove it");
                return None;
            }
            Some(extractor) => return Some(extractor),
            None => {}
        }
        refuse_type(&parameter.ty, errors)?;
        let ident = name(&parameter.pat, &parameter.ty, errors)?;
        let mut attribute = ArgAttribute::read(keys.unwrap_or_default(), owner, &parameter.ty, errors);
        let description = attribute.description.take().map(|text| quote!(#text)).or(documented);
        let wire = wire_name(&ident, &attribute, errors)?;
        let ty = (*parameter.ty).clone();
        let optional = types::option_inner(&ty).cloned();
        Some(Self::Argument(Box::new(Argument { ident, wire, ty, optional, description, attribute })))
    }

    /// Returns the argument, if it is one.
    pub(crate) fn argument(&self) -> Option<&Argument> {
        match self {
            Self::Argument(argument) => Some(argument),
            _ => None,
        }
    }
}

/// Tells an extractor by the last word of its type.
fn extractor(ty: &Type) -> Option<Parameter> {
    if types::is_plain(ty, "Context") {
        return Some(Parameter::Context { by_reference: false });
    }
    match types::bare(ty) {
        Type::Reference(TypeReference { elem, mutability: None, .. }) if types::is_plain(elem, "Context") => {
            Some(Parameter::Context { by_reference: true })
        }
        other => {
            let state = types::inner_of(other, "State").map(|ty| Parameter::State(ty.clone()));
            state.or_else(|| types::inner_of(other, "Args").map(|ty| Parameter::Args(ty.clone())))
        }
    }
}

fn refuse_cfg(parameter: &PatType, errors: &mut Errors) {
    let conditional = |attribute: &&syn::Attribute| {
        attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr")
    };
    for attribute in parameter.attrs.iter().filter(conditional) {
        errors.on(
            attribute,
            "an argument cannot depend on `cfg`; write two functions, each with its own `cfg`",
        );
    }
}

/// Notes a type that no argument can have.
fn refuse_type(ty: &Type, errors: &mut Errors) -> Option<()> {
    if let Some(found) = types::first_impl_trait(ty) {
        errors.on(
            found,
            "an `impl Trait` argument has no schema; write the type, such as `String` or your own struct",
        );
        return None;
    }
    let Some(Type::Reference(reference)) = types::first_reference(ty) else { return Some(()) };
    let elem = types::bare(&reference.elem);
    let instead = match elem {
        Type::Slice(slice) => {
            let item = &slice.elem;
            quote!(Vec<#item>)
        }
        elem if types::is_plain(elem, "str") => quote!(String),
        elem if types::is_plain(elem, "Context") => quote!(&Context),
        elem => quote!(#elem),
    };
    let instead = written(&instead);
    errors.on(
        reference,
        format!("an argument belongs to the function, it cannot be borrowed; write `{instead}`"),
    );
    None
}

/// Writes a type the way people do.
fn written(ty: &TokenStream) -> String {
    let mut text = ty.to_string();
    for (spaced, tight) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        ("& ", "&"),
    ] {
        text = text.replace(spaced, tight);
    }
    text
}

/// Returns the name of an argument; any other pattern is noted as a mistake.
fn name(pattern: &Pat, ty: &Type, errors: &mut Errors) -> Option<Ident> {
    match pattern {
        Pat::Ident(PatIdent { ident, subpat: None, .. }) => Some(ident.clone()),
        Pat::TupleStruct(tuple)
            if tuple
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == "State" || last.ident == "Args") =>
        {
            let word = tuple.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
            let instead = written(&quote!(#ty));
            errors
                .on(ty, format!("`{word}(..)` takes its value out of a `{word}`; write `{word}<{instead}>`"));
            None
        }
        other => {
            errors.on(other, "an argument has a name, which clients send it by; write `name: Type` and take it apart in the body");
            None
        }
    }
}

/// Returns the name on the wire: `rename`, or that of the parameter without the underscores that mark it as unused.
fn wire_name(ident: &Ident, attribute: &ArgAttribute, errors: &mut Errors) -> Option<String> {
    if let Some(rename) = &attribute.rename {
        return Some(rename.value());
    }
    let name = ident.unraw().to_string();
    let name = name.trim_start_matches('_');
    if name.is_empty() {
        errors.at(ident.span(), "an argument has a name, which clients send it by; write `name: Type`");
        return None;
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use syn::FnArg;

    use super::*;

    fn read(text: &str, owner: Owner) -> Result<Parameter, Vec<String>> {
        let FnArg::Typed(mut parameter) = syn::parse_str(text).unwrap() else { panic!("{text}") };
        let mut errors = Errors::default();
        let read = Parameter::read(&mut parameter, owner, &mut errors);
        assert!(parameter.attrs.iter().all(|attribute| !attribute.path().is_ident("arg")));
        read.ok_or_else(|| errors.texts())
    }

    #[test]
    fn extractors_and_arguments_are_told_apart() {
        let tool = |text| read(text, Owner::Tool).unwrap();
        assert!(matches!(tool("ctx: Context"), Parameter::Context { by_reference: false }));
        assert!(matches!(tool("ctx: &trunkline::Context"), Parameter::Context { by_reference: true }));
        assert!(matches!(tool("State(db): State<Db>"), Parameter::State(_)));
        assert!(matches!(tool("Args(Point { x, y }): Args<Point>"), Parameter::Args(_)));
        assert!(matches!(tool("state: State"), Parameter::Argument(_)));
        assert!(matches!(tool("#[arg] context: mine::Context"), Parameter::Argument(_)));
    }

    #[test]
    fn an_argument_has_a_name_a_type_and_a_description() {
        let Parameter::Argument(argument) =
            read("/// The first\n/// operand.\n r#type: Option<f64>", Owner::Tool).unwrap()
        else {
            panic!("no argument")
        };
        assert_eq!(argument.wire, "type");
        assert!(argument.optional.is_some());
        assert_eq!(argument.description.unwrap().to_string(), "\"The first operand.\"");
        let wire = |text| read(text, Owner::Tool).unwrap().argument().unwrap().wire.clone();
        assert_eq!(wire("_city: String"), "city");
        assert_eq!(wire("#[arg(rename = \"userId\")] id: u8"), "userId");
        assert_eq!(wire("mut count: u8"), "count");
    }

    #[track_caller]
    fn refused(text: &str, owner: Owner, expected: &str) {
        let Err(errors) = read(text, owner) else { panic!("`{text}` is taken") };
        assert!(errors[0].contains(expected), "{text}: {errors:?}");
    }

    #[test]
    fn what_is_no_argument_says_what_to_write() {
        refused("name: &str", Owner::Tool, "write `String`");
        refused("name: Option<&'static str>", Owner::Tool, "write `String`");
        refused("names: &[u8]", Owner::Tool, "write `Vec<u8>`");
        refused("name: &Point", Owner::Tool, "write `Point`");
        refused("ctx: &mut Context", Owner::Tool, "write `&Context`");
        refused("name: impl Into<String>", Owner::Tool, "has no schema");
        refused("(a, b): (u8, u8)", Owner::Tool, "take it apart in the body");
        refused("_: u8", Owner::Tool, "write `name: Type`");
        refused("State(db): Db", Owner::Tool, "write `State<Db>`");
        refused("#[arg(default)] State(db): State<Db>", Owner::Tool, "remove it");
        refused("Args(a): Args<A>", Owner::Prompt, "declare the arguments one by one");
    }
}
