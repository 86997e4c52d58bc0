//! The type of a tool's arguments, with what serde and schemars need to know of each of them.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Expr, ExprLit, Ident, Lit};

use super::Names;
use crate::arg::DefaultValue;
use crate::function::Function;
use crate::parameter::Argument;

/// Writes the type of the arguments and the functions that make defaults; nothing when there are no arguments.
pub(super) fn arguments(function: &Function, names: &Names) -> Option<TokenStream> {
    let Names { support, arguments, .. } = names;
    let fields: Vec<_> =
        function.arguments().enumerate().map(|(number, one)| field(number, one, arguments)).collect();
    if fields.is_empty() {
        return None;
    }
    let defaults: Vec<_> =
        function.arguments().enumerate().filter_map(|(number, one)| default(number, one)).collect();
    let defaults = (!defaults.is_empty()).then(|| {
        quote! {
            #[allow(clippy::unnecessary_wraps, reason = "a default has the type of its argument")]
            impl #arguments {
                #(#defaults)*
            }
        }
    });
    let [serde, schemars] = ["serde", "schemars"]
        .map(|name| format_ident!("{name}"))
        .map(|name| quote!(#support::#name).to_string());
    Some(quote! {
        #[derive(#support::serde::Deserialize, #support::schemars::JsonSchema)]
        #[serde(crate = #serde, deny_unknown_fields)]
        #[schemars(crate = #schemars)]
        struct #arguments {
            #(#fields)*
        }

        #defaults
    })
}

fn field(number: usize, argument: &Argument, arguments: &Ident) -> TokenStream {
    let (ident, ty, attribute) = (&argument.ident, &argument.ty, &argument.attribute);
    let rename = (ident.unraw() != argument.wire.as_str()).then(|| {
        let wire = &argument.wire;
        quote!(#[serde(rename = #wire)])
    });
    let default = attribute.default.as_ref().map(|default| match default {
        DefaultValue::OfType => quote!(#[serde(default)]),
        DefaultValue::Is(_) => {
            let path = format!("{arguments}::{}", default_name(number));
            quote!(#[serde(default = #path)])
        }
    });
    let description = argument.description.as_ref().map(|text| quote!(#[schemars(description = #text)]));
    let (keywords, values): (Vec<_>, Vec<_>) = attribute.keywords.iter().cloned().unzip();
    let keywords = (!keywords.is_empty()).then(|| quote!(#[schemars(extend(#(#keywords = #values),*))]));
    quote!(#rename #default #description #keywords #ident: #ty,)
}

/// Writes the function that makes a default.
fn default(number: usize, argument: &Argument) -> Option<TokenStream> {
    let Some(DefaultValue::Is(value)) = &argument.attribute.default else { return None };
    let (name, ty, value) = (default_name(number), &argument.ty, default_expression(value));
    Some(quote!(fn #name() -> #ty { #value }))
}

/// Returns a default as its type: a text literal is made a `String` or what else comes from text.
pub(super) fn default_expression(value: &Expr) -> TokenStream {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => quote!(::core::convert::From::from(#value)),
        other => quote!(#other),
    }
}

fn default_name(number: usize) -> Ident {
    format_ident!("default_{number}")
}
