//! What `#[resource(..)]` says of its data besides what it is: for how long it may be kept, how large it is, whom it is for.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Expr, ExprLit, Lit, LitStr};

use crate::error::Errors;
use crate::keys::{Key, Keys};

/// The keys read here.
pub(crate) const KEYS: [&str; 5] = ["ttl", "public", "size", "priority", "audience"];

/// The longest time that may be kept, in milliseconds: a year, more than any client heeds.
const MAX_TTL_MS: u64 = 365 * 86_400_000;

/// What was said.
#[derive(Default)]
pub(crate) struct Hints {
    /// For how long what was read may be kept, in milliseconds.
    ttl: Option<u64>,
    /// Whether it is the same for every caller.
    public: bool,
    size: Option<Expr>,
    priority: Option<Expr>,
    /// The variant of `Role`.
    audience: Option<proc_macro2::Ident>,
}

impl Hints {
    /// Takes the keys out. `is_template`: the resource has variables.
    pub(crate) fn read(keys: &mut Keys, is_template: bool, errors: &mut Errors) -> Self {
        let ttl_given = keys.has("ttl");
        let ttl = keys.take("ttl").and_then(|key| errors.keep(ttl(key)));
        let mut hints = Self { ttl, ..Self::default() };
        if let Some(key) = keys.take("public") {
            let span = key.span();
            hints.public = errors.keep(key.flag()).unwrap_or(false);
            if hints.public && !ttl_given {
                errors.at(
                    span,
                    "`public` says who may keep it; say for how long as well, as in `ttl = \"60s\"`",
                );
            }
        }
        if let Some(key) = keys.take("size") {
            if is_template {
                errors
                    .at(key.span(), "a template has no size, only what it stands for has; leave `size` out");
            }
            hints.size = errors.keep(size(key));
        }
        hints.priority = keys.take("priority").and_then(|key| errors.keep(priority(key)));
        hints.audience = keys.take("audience").and_then(|key| errors.keep(audience(key)));
        hints
    }

    /// Writes the calls of `ResourceSpec`.
    pub(crate) fn calls(&self, root: &TokenStream) -> TokenStream {
        let cache = self.ttl.map(|ttl| {
            let scope = if self.public { format_ident!("Public") } else { format_ident!("Private") };
            quote!(.cache(::core::time::Duration::from_millis(#ttl), #root::CacheScope::#scope))
        });
        let size = self.size.as_ref().map(|size| quote!(.size(#size)));
        let annotations = (self.priority.is_some() || self.audience.is_some()).then(|| {
            let priority = self.priority.as_ref().map(|priority| quote!(.priority(#priority)));
            let audience = self.audience.as_ref().map(|role| quote!(.audience(#root::Role::#role)));
            quote!(.annotations(#root::ContentAnnotations::new() #priority #audience))
        });
        quote!(#cache #size #annotations)
    }
}

/// Reads a time: a whole number and its unit.
fn ttl(key: Key) -> syn::Result<u64> {
    let text = key.literal("ttl = \"60s\"")?;
    millis(&text.value()).ok_or_else(|| {
        let shown = format!(
            "`{}` is no time; write a whole number with `ms`, `s`, `m` or `h`, as in `60s`, up to a year",
            text.value()
        );
        syn::Error::new(text.span(), shown)
    })
}

fn millis(text: &str) -> Option<u64> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale).filter(|millis| *millis <= MAX_TTL_MS)
}

fn size(key: Key) -> syn::Result<Expr> {
    let value = key.value("size = 1024")?;
    match &value {
        Expr::Lit(ExprLit { lit: Lit::Int(_), .. }) | Expr::Path(_) | Expr::Macro(_) => Ok(value),
        other => Err(syn::Error::new_spanned(other, "`size` is a number of bytes; write `size = 1024`")),
    }
}

fn priority(key: Key) -> syn::Result<Expr> {
    let value = key.value("priority = 0.5")?;
    let fits = match &value {
        Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) => {
            number.base10_parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number))
        }
        Expr::Path(_) => true,
        _ => false,
    };
    let text =
        "`priority` goes from 0.0, what may be left out, to 1.0, what is needed; write `priority = 0.5`";
    if fits { Ok(value) } else { Err(syn::Error::new_spanned(&value, text)) }
}

fn audience(key: Key) -> syn::Result<proc_macro2::Ident> {
    let text: LitStr = key.literal("audience = \"user\"")?;
    match text.value().as_str() {
        "user" => Ok(format_ident!("User")),
        "assistant" => Ok(format_ident!("Assistant")),
        other => {
            let told = format!(
                "`{other}` is nobody it could be for; use `user` or `assistant`, or leave it out for both"
            );
            Err(syn::Error::new(text.span(), told))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tokens: TokenStream, is_template: bool) -> (String, Vec<String>) {
        let (mut keys, mut errors) = (syn::parse2::<Keys>(tokens).unwrap(), Errors::default());
        let hints = Hints::read(&mut keys, is_template, &mut errors);
        (hints.calls(&quote!(t)).to_string().replace(' ', ""), errors.texts())
    }

    #[test]
    fn all_hints_become_calls() {
        let (calls, errors) =
            read(quote!(ttl = "5m", public, size = 3, priority = 0.5, audience = "user"), false);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(
            calls,
            ".cache(::core::time::Duration::from_millis(300000u64),t::CacheScope::Public).size(3)\
             .annotations(t::ContentAnnotations::new().priority(0.5).audience(t::Role::User))"
        );
        let (calls, errors) = read(quote!(ttl = "250ms"), true);
        assert!(errors.is_empty() && calls.contains("250u64") && calls.contains("Private"), "{calls}");
        assert_eq!(read(quote!(), false), (String::new(), Vec::new()));
    }

    #[test]
    fn every_wrong_hint_says_what_to_write() {
        let wrong = quote!(ttl = "5 minutes", public, size = "3", priority = 2.0, audience = "all");
        let (_, errors) = read(wrong, true);
        let expected =
            ["`5 minutes` is no time", "no size", "number of bytes", "from 0.0", "`all` is nobody"];
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        for (error, part) in errors.iter().zip(expected) {
            assert!(error.contains(part), "{part}: {errors:?}");
        }
        assert!(read(quote!(public), false).1[0].contains("for how long"));
    }

    #[test]
    fn a_time_has_a_unit_and_an_end() {
        for (text, expected) in [("0s", Some(0)), ("8760h", Some(MAX_TTL_MS)), ("1m", Some(60_000))] {
            assert_eq!(millis(text), expected, "{text}");
        }
        for text in ["", "s", "5", "5d", "1.5s", "-1s", "8761h", "99999999999999999999s", "1 s"] {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
