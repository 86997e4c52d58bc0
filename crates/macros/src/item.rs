//! What stands inside `#[tool(..)]`, `#[prompt(..)]` and `#[resource(..)]`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Expr, Ident, LitStr, Path, Token};

use crate::arg::Owner;
use crate::error::Errors;
use crate::hints::{self, Hints};
use crate::keys::{Key, Keys, Value};

/// What was said about the item.
pub(crate) struct ItemAttribute {
    /// The path of the `trunkline` crate.
    pub(crate) root: TokenStream,
    pub(crate) name: Option<LitStr>,
    pub(crate) title: Option<Expr>,
    pub(crate) description: Option<Expr>,
    pub(crate) icon: Option<Expr>,
    /// The hints of a tool, by the names of the methods of `ToolSpec`.
    pub(crate) hints: Vec<(&'static str, bool)>,
    /// The variant of `TaskMode`.
    pub(crate) task: Option<Ident>,
    /// The address of a resource.
    pub(crate) uri: Option<LitStr>,
    pub(crate) mime: Option<Expr>,
    pub(crate) subscribe: bool,
    pub(crate) hints_of_resource: Hints,
}

/// The address of a resource, if it comes first, and the keys.
struct Written {
    uri: Option<LitStr>,
    keys: Keys,
}

impl Parse for Written {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let uri: Option<LitStr> = if input.peek(LitStr) { Some(input.parse()?) } else { None };
        if uri.is_some() && !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
        Ok(Self { uri, keys: input.parse()? })
    }
}

impl ItemAttribute {
    /// Understands the tokens inside the parentheses of the attribute.
    pub(crate) fn read(tokens: TokenStream, owner: Owner, errors: &mut Errors) -> Self {
        let written = errors.keep(Written::parse.parse2(tokens));
        let broken = written.is_none();
        let Written { uri, mut keys } = written.unwrap_or(Written { uri: None, keys: Keys::default() });
        keys.check(owner.attribute(), owner.item_keys(), errors);
        match (&uri, owner) {
            (Some(uri), Owner::Tool | Owner::Prompt) => errors.at(uri.span(), not_positional(owner, &uri.value())),
            (None, Owner::Resource) if !broken => errors.at(
                Span::call_site(),
                "a resource has a URI; write `#[resource(\"notes://today\")]`, or `#[resource(\"notes://{id}\")]` for many",
            ),
            _ => {}
        }
        let mut text = |name| keys.take(name).and_then(|key| errors.keep(key.text()));
        let (title, description) = (text("title"), text("description"));
        let (icon, mime) = (text("icon"), text("mime"));
        let name = keys.take("name").and_then(|key| errors.keep(name(key, owner)));
        let mut flag = |name| keys.take(name).and_then(|key| errors.keep(key.flag()));
        let hints = HINTS.into_iter().filter_map(|name| Some((name, flag(name)?))).collect();
        let subscribe = flag("subscribe").unwrap_or(false);
        let task = keys.take("task").and_then(|key| errors.keep(task(key)));
        let is_template = uri.as_ref().is_some_and(|uri| crate::uri::is_template(&uri.value()));
        let hints_of_resource = Hints::read(&mut keys, is_template, errors);
        let root = keys.take("crate").and_then(|key| errors.keep(root(key)));
        let root = root.unwrap_or_else(|| quote!(::trunkline));
        Self { root, name, title, description, icon, hints, task, uri, mime, subscribe, hints_of_resource }
    }
}

impl Owner {
    /// Returns the attribute as users write it.
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Self::Tool => "#[tool]",
            Self::Prompt => "#[prompt]",
            Self::Resource => "#[resource]",
        }
    }

    /// Returns the word for the item.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
        }
    }

    fn item_keys(self) -> &'static [&'static str] {
        match self {
            Self::Tool => &[
                "name",
                "title",
                "description",
                "read_only",
                "destructive",
                "idempotent",
                "open_world",
                "icon",
                "task",
                "crate",
            ],
            Self::Prompt => &["name", "title", "description", "icon", "crate"],
            Self::Resource => &RESOURCE_KEYS,
        }
    }
}

const RESOURCE_KEYS: [&str; 12] = {
    let [ttl, public, size, priority, audience] = hints::KEYS;
    [
        "name",
        "title",
        "description",
        "mime",
        "subscribe",
        ttl,
        public,
        size,
        priority,
        audience,
        "icon",
        "crate",
    ]
};

fn not_positional(owner: Owner, text: &str) -> String {
    let word = owner.word();
    format!("a {word} takes its name from the function; write `#[{word}(name = \"{text}\")]` for another one")
}

fn name(key: Key, owner: Owner) -> syn::Result<LitStr> {
    let name = key.literal("name = \"..\"")?;
    match wrong_name(&name.value(), owner) {
        Some(text) => Err(syn::Error::new(name.span(), text)),
        None => Ok(name),
    }
}

/// Returns what is wrong with a name. The server takes the same names, see `ToolName`.
pub(crate) fn wrong_name(name: &str, owner: Owner) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let good = match owner {
        Owner::Tool => (1..=64).contains(&name.len()) && name.bytes().all(fits),
        Owner::Prompt | Owner::Resource => !name.trim().is_empty(),
    };
    let allowed = match owner {
        Owner::Tool => "1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`",
        Owner::Prompt | Owner::Resource => "a name that is not blank",
    };
    (!good).then(|| format!("`{name}` is no name of a {}; use {allowed}", owner.word()))
}

fn task(key: Key) -> syn::Result<Ident> {
    if matches!(key.value, Value::Flag) {
        return Ok(format_ident!("Optional"));
    }
    let example = "task` or `task = \"required\"";
    let value = key.literal(example)?;
    match value.value().as_str() {
        "never" => Ok(format_ident!("Never")),
        "optional" => Ok(format_ident!("Optional")),
        "required" => Ok(format_ident!("Required")),
        other => {
            let text = format!("`{other}` is no way to be a task; use `optional`, `required` or `never`");
            Err(syn::Error::new(value.span(), text))
        }
    }
}

/// Returns the path of `crate = "path"` or `crate = path`.
fn root(key: Key) -> syn::Result<TokenStream> {
    let example = "crate = \"my_crate::trunkline\"";
    let path: Path = match key.value(example)? {
        Expr::Path(path) => path.path,
        other => {
            let text: LitStr = syn::parse2(quote!(#other)).map_err(|_| {
                syn::Error::new_spanned(&other, format!("expected a path; write `{example}`"))
            })?;
            text.parse()?
        }
    };
    Ok(quote!(#path))
}

const HINTS: [&str; 4] = ["read_only", "destructive", "idempotent", "open_world"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read_attribute(tokens: TokenStream, owner: Owner) -> (ItemAttribute, Vec<String>) {
        let mut errors = Errors::default();
        let read = ItemAttribute::read(tokens, owner, &mut errors);
        (read, errors.texts())
    }

    #[test]
    fn a_tool_takes_all_its_keys() {
        let (read, errors) = read_attribute(
            quote!(
                name = "a-b",
                title = "A",
                description = "d",
                read_only,
                destructive = false,
                icon = "https://x/i.png",
                task = "required",
                crate = "a::b"
            ),
            Owner::Tool,
        );
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(read.name.unwrap().value(), "a-b");
        assert_eq!(read.hints, [("read_only", true), ("destructive", false)]);
        assert_eq!(read.task.unwrap(), "Required");
        assert_eq!(read.root.to_string(), "a :: b");
        assert!(read.title.is_some() && read.description.is_some() && read.icon.is_some());
    }

    #[test]
    fn a_resource_begins_with_its_uri() {
        let (read, errors) =
            read_attribute(quote!("notes://{id}", mime = "text/plain", subscribe), Owner::Resource);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(read.uri.unwrap().value(), "notes://{id}");
        assert!(read.subscribe && read.mime.is_some());
        assert_eq!(read.root.to_string(), ":: trunkline");
        let (_, errors) = read_attribute(quote!(subscribe), Owner::Resource);
        assert!(errors[0].contains("a resource has a URI"), "{errors:?}");
    }

    #[test]
    fn all_mistakes_of_an_attribute_come_at_once() {
        let (_, errors) = read_attribute(
            quote!("sum", readonly, name = "a b", task = "always", crate = 5, title = ""),
            Owner::Tool,
        );
        for part in [
            "name = \"sum\"",
            "did you mean `read_only`?",
            "`a b` is no name",
            "`always` is no way",
            "a path",
            "is empty",
        ] {
            assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:?}");
        }
        assert_eq!(errors.len(), 6, "{errors:?}");
    }

    #[test]
    fn a_name_of_a_tool_has_64_characters_at_most() {
        assert_eq!(wrong_name(&"a".repeat(64), Owner::Tool), None);
        assert!(wrong_name(&"a".repeat(65), Owner::Tool).is_some());
        assert!(wrong_name("", Owner::Tool).is_some());
        assert_eq!(wrong_name("daily note", Owner::Resource), None);
    }
}
