//! Reads the inside of an attribute: `key`, `key = value` and `key(..)`, in any order, each at most once.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, ExprLit, Ident, Lit, LitStr, Token};

use crate::error::{Errors, suggestion};

/// The keys of one attribute, as they were written.
#[derive(Default)]
pub(crate) struct Keys(Vec<Key>);

/// One key and what was said with it.
pub(crate) struct Key {
    /// The key itself; errors about it point here.
    pub(crate) name: Ident,
    /// What it was set to.
    pub(crate) value: Value,
}

/// What a key was set to.
pub(crate) enum Value {
    /// Nothing: `read_only`.
    Flag,
    /// A value: `title = "Calculator"`.
    Is(Expr),
    /// More keys: `items(min = 1)`.
    Group(TokenStream),
}

impl Parse for Keys {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let keys = input.parse_terminated(Key::parse, Token![,])?;
        Ok(Self(keys.into_iter().collect()))
    }
}

impl Parse for Key {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // `crate` is a key too, so keywords are taken as they are.
        let name = Ident::parse_any(input)
            .map_err(|error| syn::Error::new(error.span(), "expected a key, as in `key = value`"))?;
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Value::Is(input.parse()?)
        } else if input.peek(syn::token::Paren) {
            let inner;
            syn::parenthesized!(inner in input);
            Value::Group(inner.parse()?)
        } else {
            Value::Flag
        };
        Ok(Self { name, value })
    }
}

impl Keys {
    /// Notes the keys `attribute` does not know and those given twice, and leaves each known key once.
    pub(crate) fn check(&mut self, attribute: &str, known: &[&str], errors: &mut Errors) {
        let mut seen: Vec<String> = Vec::new();
        self.0.retain(|key| {
            let name = key.name.to_string();
            if !known.contains(&name.as_str()) {
                let near = suggestion(&name, known);
                errors.at(key.name.span(), format!("`{name}` is no key of `{attribute}`; {near}"));
                return false;
            }
            if seen.contains(&name) {
                errors.at(key.name.span(), format!("`{name}` is given twice; keep one of them"));
                return false;
            }
            seen.push(name);
            true
        });
    }

    /// Adds the keys of another attribute of the same kind.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Tells whether the key `name` was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|key| key.name == name)
    }

    /// Takes the key `name` out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Key> {
        let at = self.0.iter().position(|key| key.name == name)?;
        Some(self.0.remove(at))
    }

    /// Takes the first of the keys that `which` picks.
    pub(crate) fn take_any(&mut self, which: impl Fn(&str) -> bool) -> Option<Key> {
        let at = self.0.iter().position(|key| which(&key.name.to_string()))?;
        Some(self.0.remove(at))
    }
}

impl Key {
    /// Returns where the key stands.
    pub(crate) fn span(&self) -> Span {
        self.name.span()
    }

    /// Returns the value, or an error that shows how to write it.
    pub(crate) fn value(self, example: &str) -> syn::Result<Expr> {
        match self.value {
            Value::Is(value) => Ok(value),
            Value::Flag | Value::Group(_) => Err(syn::Error::new(
                self.name.span(),
                format!("`{}` needs a value; write `{example}`", self.name),
            )),
        }
    }

    /// Returns a text: a string literal that is not blank, or an expression such as a constant or `concat!(..)`.
    pub(crate) fn text(self) -> syn::Result<Expr> {
        let (name, example) = (self.name.clone(), format!("{} = \"..\"", self.name));
        let value = self.value(&example)?;
        match &value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if text.value().trim().is_empty() => {
                Err(syn::Error::new(
                    text.span(),
                    format!("`{name}` is empty; say something or leave the key out"),
                ))
            }
            Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) | Expr::Path(_) | Expr::Macro(_) => Ok(value),
            other => Err(syn::Error::new_spanned(other, format!("`{name}` is a text; write `{example}`"))),
        }
    }

    /// Returns a string literal, for what is looked at while compiling.
    pub(crate) fn literal(self, example: &str) -> syn::Result<LitStr> {
        match self.value(example)? {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text),
            other => {
                Err(syn::Error::new_spanned(other, format!("expected a string literal; write `{example}`")))
            }
        }
    }

    /// Returns `true` for the bare key, else the value of `key = true` or `key = false`.
    pub(crate) fn flag(self) -> syn::Result<bool> {
        match self.value {
            Value::Flag => Ok(true),
            Value::Is(Expr::Lit(ExprLit { lit: Lit::Bool(value), .. })) => Ok(value.value),
            Value::Is(_) | Value::Group(_) => {
                let name = &self.name;
                let text = format!("`{name}` is on or off; write `{name}` or `{name} = false`");
                Err(syn::Error::new(name.span(), text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn keys(tokens: TokenStream) -> Keys {
        syn::parse2(tokens).unwrap()
    }

    #[test]
    fn keys_come_bare_with_a_value_and_with_a_list() {
        let mut keys = keys(quote!(read_only, title = "T", items(min = 1), crate = a::b,));
        assert!(keys.take("read_only").unwrap().flag().unwrap());
        assert_eq!(keys.take("title").unwrap().literal("").unwrap().value(), "T");
        assert!(matches!(keys.take("items").unwrap().value, Value::Group(_)));
        assert!(matches!(keys.take("crate").unwrap().value, Value::Is(Expr::Path(_))));
        assert!(keys.take("title").is_none());
    }

    #[test]
    fn a_range_ends_at_the_comma() {
        let mut keys = keys(quote!(range = 1.., default = 2));
        assert!(matches!(keys.take("range").unwrap().value, Value::Is(Expr::Range(_))));
        assert!(keys.take("default").is_some());
    }

    #[test]
    fn unknown_and_repeated_keys_are_all_reported() {
        let mut errors = Errors::default();
        keys(quote!(titel = "a", title = "b", title = "c", xyz)).check(
            "#[tool]",
            &["title", "name"],
            &mut errors,
        );
        assert_eq!(
            errors.texts(),
            [
                "`titel` is no key of `#[tool]`; did you mean `title`? known are `title` and `name`",
                "`title` is given twice; keep one of them",
                "`xyz` is no key of `#[tool]`; known are `title` and `name`",
            ]
        );
    }

    #[test]
    fn a_text_is_not_blank_and_a_flag_is_no_text() {
        let text = |tokens| {
            keys(tokens).take("title").unwrap().text().map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(text(quote!(title = "x")), Ok(()));
        assert_eq!(text(quote!(title = concat!("a", "b"))), Ok(()));
        assert_eq!(text(quote!(title = TITLE)), Ok(()));
        assert!(text(quote!(title = " ")).unwrap_err().contains("is empty"));
        assert!(text(quote!(title = 5)).unwrap_err().contains("write `title = \"..\"`"));
        assert!(text(quote!(title)).unwrap_err().contains("needs a value"));
        assert!(keys(quote!(flag = 5)).take("flag").unwrap().flag().is_err());
    }
}
