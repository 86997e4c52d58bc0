//! Turns doc comments into the text a model reads: lines joined to paragraphs, lists and code kept as they are.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// Returns whether an attribute is a doc comment, `#[doc = ..]`.
pub(crate) fn is_doc(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc") && matches!(attribute.meta, Meta::NameValue(_))
}

/// Returns the text of the doc comments as an expression of type `&'static str`; `None` when there is no text.
pub(crate) fn description(attributes: &[Attribute]) -> Option<TokenStream> {
    let mut lines = Vec::new();
    // The lines up to an expression such as `include_str!(..)`, which only the compiler can read, and that expression.
    let mut parts: Vec<TokenStream> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| is_doc(attribute)) {
        let Meta::NameValue(doc) = &attribute.meta else { continue };
        match &doc.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => lines.extend(text_lines(&text.value())),
            other => {
                flush(&mut lines, &mut parts);
                parts.push(quote!(#other));
            }
        }
    }
    flush(&mut lines, &mut parts);
    match parts.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        [first, others @ ..] => Some(quote!(::core::concat!(#first #(, "\n\n", #others)*))),
    }
}

fn flush(lines: &mut Vec<String>, parts: &mut Vec<TokenStream>) {
    let text = paragraphs(&std::mem::take(lines));
    if !text.is_empty() {
        parts.push(quote!(#text));
    }
}

/// Splits one doc attribute into lines, without the space after `///` and the stars of `/** */`.
fn text_lines(text: &str) -> Vec<String> {
    if !text.contains('\n') {
        return vec![text.strip_prefix(' ').unwrap_or(text).to_owned()];
    }
    let bare = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix("* ").or(line.strip_prefix('*')).unwrap_or(line).to_owned()
    };
    text.lines().map(bare).collect()
}

/// Joins lines: a line break is a space, a blank line begins a paragraph, list items and fenced code keep their lines.
fn paragraphs(lines: &[String]) -> String {
    let mut text = String::new();
    let (mut fenced, mut blank) = (false, false);
    for line in lines {
        let line = line.trim_end();
        let fence = line.trim_start().starts_with("```");
        if line.is_empty() && !fenced {
            blank = true;
            continue;
        }
        if !text.is_empty() {
            let own_line = fenced || fence || is_item(line) || text.ends_with("```");
            text.push_str(if blank {
                "\n\n"
            } else if own_line {
                "\n"
            } else {
                " "
            });
        }
        text.push_str(if fenced || own_indent(line) { line } else { line.trim_start() });
        fenced ^= fence;
        blank = false;
    }
    text.trim().to_owned()
}

fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    let numbered = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
    line.starts_with("- ")
        || line.starts_with("* ")
        || (numbered.len() < line.len() && numbered.starts_with(". "))
}

/// Returns whether the line is a nested list item, whose indentation has a meaning.
fn own_indent(line: &str) -> bool {
    line.starts_with(' ') && is_item(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(item: &str) -> Option<String> {
        let item: syn::ItemFn = syn::parse_str(item).unwrap();
        description(&item.attrs).map(|tokens| match syn::parse2::<syn::LitStr>(tokens.clone()) {
            Ok(text) => text.value(),
            Err(_) => tokens.to_string(),
        })
    }

    #[test]
    fn lines_join_and_a_blank_line_begins_a_paragraph() {
        assert_eq!(
            read("/// Adds two\n/// numbers.\n///\n///   Never fails. \n///\nfn a() {}").unwrap(),
            "Adds two numbers.\n\nNever fails."
        );
        assert_eq!(read("/** Adds two\n  * numbers. */ fn a() {}").unwrap(), "Adds two numbers.");
    }

    #[test]
    fn lists_and_code_keep_their_lines() {
        let text = read(
            "/// One of\n/// - a\n///   more\n/// - b\n/// 1. c\n/// ```\n///   x\n///\n/// y\n/// ```\n/// end\nfn a() {}",
        );
        assert_eq!(text.unwrap(), "One of\n- a more\n- b\n1. c\n```\n  x\n\ny\n```\nend");
    }

    #[test]
    fn no_text_is_none() {
        assert_eq!(read("fn a() {}"), None);
        assert_eq!(read("///\n/// \n#[doc(hidden)] fn a() {}"), None);
    }

    #[test]
    fn an_included_file_is_left_to_the_compiler() {
        assert_eq!(read("#[doc = include_str!(\"a.md\")] fn a() {}").unwrap(), "include_str ! (\"a.md\")");
        let both = read("/// First.\n#[doc = include_str!(\"a.md\")] fn a() {}").unwrap();
        assert!(both.starts_with(":: core :: concat ! (\"First.\" , \"\\n\\n\" , include_str"), "{both}");
    }
}
