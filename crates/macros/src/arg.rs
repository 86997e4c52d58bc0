//! `#[arg(..)]`: what is said about one argument beside its type.

use proc_macro2::TokenStream;
use syn::{Attribute, Expr, ExprArray, ExprPath, LitStr, Meta, Type};

use crate::constraint::constraints;
use crate::error::Errors;
use crate::keys::{Key, Keys, Value};
use crate::types::shape;

/// What the argument belongs to; each knows other keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Tool,
    Prompt,
    Resource,
}

/// What was said about one argument.
#[derive(Default)]
pub(crate) struct ArgAttribute {
    pub(crate) description: Option<Expr>,
    pub(crate) default: Option<DefaultValue>,
    /// JSON Schema keywords and their values.
    pub(crate) keywords: Vec<(&'static str, TokenStream)>,
    pub(crate) rename: Option<LitStr>,
    /// The header the argument is mirrored to, which two arguments cannot share.
    pub(crate) header: Option<LitStr>,
    pub(crate) complete: Option<Complete>,
}

/// The value of an argument that was not given.
pub(crate) enum DefaultValue {
    /// `default`: that of the type.
    OfType,
    /// `default = ..`.
    Is(Expr),
}

/// Where completions come from.
pub(crate) enum Complete {
    /// `complete = ["a", "b"]`.
    List(ExprArray),
    /// `complete = function`.
    Function(ExprPath),
}

impl Owner {
    /// Returns the keys `#[arg]` takes here.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Tool => &TOOL_KEYS,
            Self::Prompt => &["description", "default", "rename", "complete"],
            Self::Resource => &["rename", "complete"],
        }
    }

    /// Returns why a key that tools or others know has no place here.
    fn why_not(self, key: &str) -> Option<String> {
        let known_elsewhere = TOOL_KEYS.contains(&key) || key == "complete";
        if !known_elsewhere || self.keys().contains(&key) {
            return None;
        }
        Some(match self {
            Self::Tool => "`complete` is for prompts and resources; clients ask for no completions of a tool: list the values in an enum instead".into(),
            Self::Prompt => format!(
                "`{key}` is for tools: a prompt's arguments are text without a schema; check the value in the function and return a `PromptError`"
            ),
            Self::Resource => format!(
                "`{key}` is for tools: a variable of a template is text without a schema; check the value in the function and return `ResourceError::NotFound`"
            ),
        })
    }
}

/// Takes `#[arg]` attributes out of `attributes`; `None` when there is none.
pub(crate) fn take(attributes: &mut Vec<Attribute>, errors: &mut Errors) -> Option<Keys> {
    let mut keys = None;
    attributes.retain(|attribute| {
        if !attribute.path().is_ident("arg") {
            return true;
        }
        let parsed = match &attribute.meta {
            Meta::Path(_) => Some(Keys::default()),
            Meta::List(list) => errors.keep(list.parse_args::<Keys>()),
            Meta::NameValue(_) => {
                errors.on(attribute, "write `#[arg(key = value)]`");
                None
            }
        };
        keys.get_or_insert_with(Keys::default).append(parsed.unwrap_or_default());
        false
    });
    keys
}

impl ArgAttribute {
    /// Understands the keys of an argument of type `ty`.
    pub(crate) fn read(mut keys: Keys, owner: Owner, ty: &Type, errors: &mut Errors) -> Self {
        while let Some(key) = keys.take_any(|name| owner.why_not(name).is_some()) {
            errors.at(key.span(), owner.why_not(&key.name.to_string()).unwrap_or_default());
        }
        keys.check("#[arg]", owner.keys(), errors);
        let description = keys.take("description").and_then(|key| errors.keep(key.text()));
        let default = keys.take("default").map(default_value);
        let rename = keys.take("rename").and_then(|key| errors.keep(name_of(key)));
        let complete = keys.take("complete").and_then(|key| errors.keep(complete(key)));
        let (keywords, header) = constraints(&mut keys, shape(ty), errors);
        Self { description, default, keywords, rename, header, complete }
    }
}

fn default_value(key: Key) -> DefaultValue {
    match key.value {
        Value::Is(value) => DefaultValue::Is(value),
        Value::Flag | Value::Group(_) => DefaultValue::OfType,
    }
}

fn name_of(key: Key) -> syn::Result<LitStr> {
    let name = key.literal("rename = \"userId\"")?;
    if name.value().is_empty() {
        return Err(syn::Error::new(name.span(), "`rename` is empty; write the name clients use"));
    }
    Ok(name)
}

fn complete(key: Key) -> syn::Result<Complete> {
    let example = "complete = [\"en\", \"de\"]` or `complete = function";
    match key.value(example)? {
        Expr::Array(list) => Ok(Complete::List(list)),
        Expr::Path(path) => Ok(Complete::Function(path)),
        other => Err(syn::Error::new_spanned(
            other,
            format!("completions are a list or a function; write `{example}`"),
        )),
    }
}

/// What `#[arg]` takes on an argument of a tool.
const TOOL_KEYS: [&str; 10] = [
    "description",
    "default",
    "range",
    "min_length",
    "max_length",
    "pattern",
    "format",
    "items",
    "rename",
    "header",
];

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn read_arg(keys: TokenStream, owner: Owner, ty: &str) -> (ArgAttribute, Vec<String>) {
        let mut errors = Errors::default();
        let keys = syn::parse2(keys).unwrap();
        let read = ArgAttribute::read(keys, owner, &syn::parse_str(ty).unwrap(), &mut errors);
        (read, errors.texts())
    }

    #[test]
    fn each_owner_knows_its_keys() {
        let (read, errors) = read_all();
        assert!(errors.is_empty(), "{errors:?}");
        assert!(matches!(read.default, Some(DefaultValue::Is(_))));
        assert_eq!(read.rename.unwrap().value(), "userId");
        let (read, errors) = read_arg(quote!(complete = ["a", "b"], default), Owner::Prompt, "String");
        assert!(errors.is_empty(), "{errors:?}");
        assert!(matches!(read.complete, Some(Complete::List(_))));
        assert!(matches!(read.default, Some(DefaultValue::OfType)));
    }

    fn read_all() -> (ArgAttribute, Vec<String>) {
        let keys = quote!(description = "d", default = 5, range = 1..=9, rename = "userId", header = "User");
        read_arg(keys, Owner::Tool, "u32")
    }

    #[test]
    fn a_key_of_another_owner_says_what_to_do_instead() {
        let (_, errors) = read_arg(quote!(complete = f, renam = "x"), Owner::Tool, "String");
        assert!(errors[0].contains("list the values in an enum"), "{errors:?}");
        assert!(errors[1].contains("did you mean `rename`?"), "{errors:?}");
        let (_, errors) = read_arg(quote!(range = 1..2), Owner::Prompt, "String");
        assert!(errors[0].contains("`PromptError`"), "{errors:?}");
        let (_, errors) = read_arg(quote!(description = "x"), Owner::Resource, "String");
        assert!(errors[0].contains("for tools"), "{errors:?}");
    }

    #[test]
    fn arg_attributes_are_taken_out_and_joined() {
        let mut item: syn::ItemFn =
            syn::parse_str("#[arg(default)] #[allow(x)] #[arg(rename = \"a\")] fn f() {}").unwrap();
        let mut errors = Errors::default();
        let mut keys = take(&mut item.attrs, &mut errors).unwrap();
        assert_eq!(item.attrs.len(), 1);
        assert!(keys.take("default").is_some() && keys.take("rename").is_some());
        assert!(take(&mut item.attrs, &mut errors).is_none());
        assert!(errors.into_tokens().is_none());
    }
}
