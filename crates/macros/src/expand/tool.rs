//! The implementation of `Tool` for the type of a function.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::call::{Call, outcome, states};
use super::{Names, schema};
use crate::function::{Function, Output};
use crate::item::ItemAttribute;
use crate::parameter::Parameter;

/// Writes the type of the arguments and `impl Tool`.
pub(super) fn implementation(
    function: &Function,
    attribute: &ItemAttribute,
    name: &str,
    names: &Names,
) -> TokenStream {
    let Names { root, ctx, .. } = names;
    let (ident, arguments) = (function.ident(), schema::arguments(function, names));
    let (spec, body) = (spec(function, attribute, name, names), body(function, names));
    quote! {
        #arguments

        impl #root::Tool for #ident {
            fn spec(&self) -> #root::ToolSpec {
                #spec
            }

            fn call(&self, #ctx: #root::Context) -> #root::ToolFuture {
                ::std::boxed::Box::pin(async move { #body })
            }
        }
    }
}

/// Returns the type that all arguments are decoded to; `None` when there are none.
fn arguments_type(function: &Function, names: &Names) -> Option<TokenStream> {
    let whole = function.parameters.iter().find_map(|parameter| match parameter {
        Parameter::Args(ty) => Some(quote!(#ty)),
        _ => None,
    });
    let arguments = &names.arguments;
    whole.or_else(|| function.arguments().next().map(|_| quote!(#arguments)))
}

fn spec(function: &Function, attribute: &ItemAttribute, name: &str, names: &Names) -> TokenStream {
    let root = &names.root;
    let title = attribute.title.as_ref().map(|title| quote!(.title(#title)));
    let description =
        attribute.description.as_ref().map(|text| quote!(#text)).or(function.description.clone());
    let description = description.map(|text| quote!(.description(#text)));
    let input = arguments_type(function, names).map(|ty| quote!(.input::<#ty>()));
    // An `impl Trait` cannot be named, so what it would say of its schema is not known.
    let output = match function.output() {
        Output::Named(ty) => Some(quote!(.output::<#ty>())),
        Output::Unnamed | Output::Stream | Output::ResultOfStream => None,
    };
    let hints = attribute.hints.iter().map(|(hint, on)| {
        let hint = format_ident!("{hint}");
        quote!(.#hint(#on))
    });
    let icon = attribute.icon.as_ref().map(|src| quote!(.icon(#root::Icon::new(#src))));
    let task = attribute.task.as_ref().map(|mode| quote!(.task(#root::TaskMode::#mode)));
    let states = states(function);
    quote!(#root::ToolSpec::new(#name) #title #description #input #output #(#hints)* #icon #task #states)
}

fn body(function: &Function, names: &Names) -> TokenStream {
    let Names { root, support, ctx, args, .. } = names;
    let ty = arguments_type(function, names);
    // A tool without arguments refuses those it is sent, as any other refuses those it does not know.
    let ty_of_args = ty.clone().unwrap_or_else(|| quote!(#support::NoArguments));
    let binding = if ty.is_some() { quote!(#args) } else { quote!(_) };
    let call = Call::new(
        function,
        names,
        |_, argument| {
            let ident = &argument.ident;
            quote!(#args.#ident)
        },
        &quote!(#args),
    );
    let Call { before, value } = call;
    let outcome = outcome(function, names, "IntoToolResult", &value);
    quote! {
        let #binding = match #ctx.arguments::<#ty_of_args>() {
            ::core::result::Result::Ok(trunkline_given) => trunkline_given,
            ::core::result::Result::Err(trunkline_error) => return #root::ToolError::into_outcome(trunkline_error),
        };
        #before
        #outcome.await
    }
}
