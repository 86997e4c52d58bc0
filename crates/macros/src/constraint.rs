//! The keys of `#[arg]` that limit a value, turned into JSON Schema keywords.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Expr, ExprLit, ExprRange, ExprUnary, Lit, LitStr, RangeLimits, UnOp};

use crate::error::Errors;
use crate::keys::{Key, Keys, Value};
use crate::pattern;
use crate::types::Shape;

/// A JSON Schema keyword and its value.
pub(crate) type Keyword = (&'static str, TokenStream);

/// Takes the limits out of `keys`: the keywords they stand for, and the header the value is mirrored to.
pub(crate) fn constraints(
    keys: &mut Keys,
    shape: Shape,
    errors: &mut Errors,
) -> (Vec<Keyword>, Option<LitStr>) {
    let mut found = Vec::new();
    if let Some(key) = keys.take("range") {
        fits(&key, shape, &[Shape::Integer, Shape::Float], errors);
        found.extend(errors.keep(range(key)).into_iter().flatten());
    }
    for (name, keyword) in [("min_length", "minLength"), ("max_length", "maxLength")] {
        let Some(key) = keys.take(name) else { continue };
        fits(&key, shape, &[Shape::Text], errors);
        found.extend(errors.keep(count(key)).map(|value| (keyword, value)));
    }
    for keyword in ["pattern", "format"] {
        let Some(key) = keys.take(keyword) else { continue };
        fits(&key, shape, &[Shape::Text], errors);
        found.extend(errors.keep(text(key)).map(|value| (keyword, value)));
    }
    if let Some(key) = keys.take("items") {
        fits(&key, shape, &[Shape::List], errors);
        found.extend(items(key, errors));
    }
    let header = keys.take("header").and_then(|key| {
        header_fits(&key, shape, errors);
        errors.keep(header(key))
    });
    found.extend(header.as_ref().map(|name| ("x-mcp-header", name.to_token_stream())));
    (found, header)
}

/// Notes a limit on a type it cannot hold for, and says which one can.
fn fits(key: &Key, found: Shape, wanted: &[Shape], errors: &mut Errors) {
    if found == Shape::Unknown || wanted.contains(&found) {
        return;
    }
    let instead = match found {
        Shape::Text => "use `min_length`, `max_length` or `pattern` for a text",
        Shape::Integer | Shape::Float => "use `range = 1..=10` for a number",
        Shape::List => "use `items(min = 1, max = 10)` for a list",
        Shape::Flag | Shape::Unknown => "a flag has nothing to limit: remove it",
    };
    let wanted = wanted.first().map_or("", |shape| shape.as_str());
    let name = &key.name;
    errors.at(
        key.span(),
        format!("`{name}` is for {wanted}, and this argument is {}; {instead}", found.as_str()),
    );
}

fn header_fits(key: &Key, found: Shape, errors: &mut Errors) {
    let found = match found {
        Shape::Float => "a number with a fraction",
        Shape::List => "a list",
        Shape::Text | Shape::Integer | Shape::Flag | Shape::Unknown => return,
    };
    let text = format!("`header` is for texts, integers and flags, and this argument is {found}; remove it");
    errors.at(key.span(), text);
}

fn range(key: Key) -> syn::Result<Vec<Keyword>> {
    let example = "range = 1..=10";
    let (start, limits, end) = match key.value(example)? {
        Expr::Range(ExprRange { start, limits, end, .. }) if start.is_some() || end.is_some() => {
            (start, limits, end)
        }
        other => {
            let text = format!("a range has a lower or an upper end; write `{example}`, `1..` or `..=10`");
            return Err(syn::Error::new_spanned(other, text));
        }
    };
    if let (Some(low), Some(high)) = (start.as_deref().and_then(number), end.as_deref().and_then(number))
        && low > high
    {
        return Err(syn::Error::new_spanned(
            start,
            "no number is in this range; write the smaller end first",
        ));
    }
    let upper = if matches!(limits, RangeLimits::Closed(_)) { "maximum" } else { "exclusiveMaximum" };
    let low = start.map(|low| ("minimum", low.into_token_stream()));
    let high = end.map(|high| (upper, high.into_token_stream()));
    Ok(low.into_iter().chain(high).collect())
}

/// Returns the value of a literal number, with its sign.
fn number(value: &Expr) -> Option<f64> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Int(value), .. }) => value.base10_parse().ok(),
        Expr::Lit(ExprLit { lit: Lit::Float(value), .. }) => value.base10_parse().ok(),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => number(expr).map(|value| -value),
        _ => None,
    }
}

/// Returns a length: a literal that is not negative, or a constant.
fn count(key: Key) -> syn::Result<TokenStream> {
    let example = format!("{} = 10", key.name);
    match key.value(&example)? {
        value @ (Expr::Path(_) | Expr::Lit(ExprLit { lit: Lit::Int(_), .. })) => Ok(quote!(#value)),
        other => {
            Err(syn::Error::new_spanned(other, format!("a length is a whole number; write `{example}`")))
        }
    }
}

fn text(key: Key) -> syn::Result<TokenStream> {
    let is_pattern = key.name == "pattern";
    let text = key.text()?;
    if let Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) = &text
        && is_pattern
        && let Some(mistake) = pattern::mistake(&literal.value())
    {
        return Err(syn::Error::new(
            literal.span(),
            format!("the pattern is no regular expression: {mistake}"),
        ));
    }
    Ok(quote!(#text))
}

fn items(key: Key, errors: &mut Errors) -> Vec<Keyword> {
    let example = "write `items(min = 1, max = 10)`";
    let (span, parsed) = match key.value {
        Value::Group(inner) => (key.name.span(), syn::parse2::<Keys>(inner).ok()),
        Value::Flag | Value::Is(_) => (key.name.span(), None),
    };
    let Some(mut keys) = parsed else {
        errors.at(span, format!("`items` takes the least and the greatest number of items; {example}"));
        return Vec::new();
    };
    keys.check("items(..)", &["min", "max"], errors);
    let mut found = Vec::new();
    for (name, keyword) in [("min", "minItems"), ("max", "maxItems")] {
        let Some(key) = keys.take(name) else { continue };
        found.extend(errors.keep(count(key)).map(|value| (keyword, value)));
    }
    found
}

/// Returns the name of a header: a token of RFC 9110. Spec: 2026-07-28 server/tools#x-mcp-header.
fn header(key: Key) -> syn::Result<LitStr> {
    let name = key.literal("header = \"Region\"")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.value().is_empty() || !name.value().bytes().all(fits) {
        let text = format!("`{}` is no part of a header name; use letters, digits and `-`", name.value());
        return Err(syn::Error::new(name.span(), text));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys: TokenStream, shape: Shape) -> Result<Vec<(&'static str, String)>, Vec<String>> {
        let mut errors = Errors::default();
        let mut keys = syn::parse2(keys).unwrap();
        let (found, _) = constraints(&mut keys, shape, &mut errors);
        let errors = errors.texts();
        if errors.is_empty() {
            Ok(found.into_iter().map(|(name, value)| (name, value.to_string())).collect())
        } else {
            Err(errors)
        }
    }

    #[track_caller]
    fn check(keys: TokenStream, shape: Shape, expected: &[(&str, &str)]) {
        let found = read(keys, shape).unwrap();
        let found: Vec<_> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn limits_become_keywords() {
        check(quote!(range = 1..=9), Shape::Integer, &[("minimum", "1"), ("maximum", "9")]);
        check(quote!(range = -1.5..), Shape::Float, &[("minimum", "- 1.5")]);
        check(quote!(range = ..MAX), Shape::Unknown, &[("exclusiveMaximum", "MAX")]);
        check(quote!(min_length = 1, max_length = N), Shape::Text, &[("minLength", "1"), ("maxLength", "N")]);
        check(quote!(pattern = "^a$"), Shape::Text, &[("pattern", "\"^a$\"")]);
        check(quote!(format = "date"), Shape::Text, &[("format", "\"date\"")]);
        check(quote!(items(max = 3)), Shape::List, &[("maxItems", "3")]);
        check(quote!(header = "Region"), Shape::Text, &[("x-mcp-header", "\"Region\"")]);
    }

    #[track_caller]
    fn refused(keys: TokenStream, shape: Shape, expected: &str) {
        let errors = read(keys, shape).unwrap_err();
        assert!(errors.iter().any(|error| error.contains(expected)), "{errors:?}");
    }

    #[test]
    fn a_limit_on_the_wrong_type_says_which_one_fits() {
        refused(quote!(range = 1..=9), Shape::Text, "use `min_length`, `max_length` or `pattern`");
        refused(quote!(max_length = 9), Shape::Integer, "use `range = 1..=10`");
        refused(quote!(max_length = 9), Shape::List, "use `items(min = 1, max = 10)`");
        refused(quote!(items(min = 1)), Shape::Text, "`items` is for a list");
        refused(quote!(pattern = "a"), Shape::Flag, "remove it");
        refused(quote!(header = "A"), Shape::Float, "a number with a fraction");
    }

    #[test]
    fn a_limit_that_limits_nothing_is_refused() {
        refused(quote!(range = 9..=1), Shape::Integer, "smaller end first");
        refused(quote!(range = ..), Shape::Integer, "`1..` or `..=10`");
        refused(quote!(range = 5), Shape::Integer, "write `range = 1..=10`");
        refused(quote!(range), Shape::Integer, "needs a value");
        refused(quote!(max_length = -1), Shape::Text, "whole number");
        refused(quote!(items = 5), Shape::List, "write `items(min = 1, max = 10)`");
        refused(quote!(items(1, 5)), Shape::List, "write `items(min = 1, max = 10)`");
        refused(quote!(items(mix = 5)), Shape::List, "did you mean `min`?");
        refused(quote!(pattern = "(a"), Shape::Text, "no regular expression");
        refused(quote!(header = "a b"), Shape::Text, "no part of a header name");
    }
}
