//! The implementation of `Prompt` for the type of a function.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use super::call::{Call, local, outcome, states};
use super::{Names, schema};
use crate::arg::{Complete, DefaultValue};
use crate::function::Function;
use crate::item::ItemAttribute;
use crate::parameter::Argument;

/// Writes `impl Prompt`.
pub(super) fn implementation(
    function: &Function,
    attribute: &ItemAttribute,
    name: &str,
    names: &Names,
) -> TokenStream {
    let Names { root, ctx, .. } = names;
    let ident = function.ident();
    let (spec, body) = (spec(function, attribute, name, names), body(function, names));
    let complete = complete(function, names);
    quote! {
        impl #root::Prompt for #ident {
            fn spec(&self) -> #root::PromptSpec {
                #spec
            }

            fn get(&self, #ctx: #root::Context) -> #root::ToolFuture {
                ::std::boxed::Box::pin(async move { #body })
            }

            #complete
        }
    }
}

fn spec(function: &Function, attribute: &ItemAttribute, name: &str, names: &Names) -> TokenStream {
    let root = &names.root;
    let title = attribute.title.as_ref().map(|title| quote!(.title(#title)));
    let description =
        attribute.description.as_ref().map(|text| quote!(#text)).or(function.description.clone());
    let description = description.map(|text| quote!(.description(#text)));
    let arguments = function.arguments().map(|argument| {
        let wire = &argument.wire;
        let description = argument.description.as_ref().map(|text| quote!(.description(#text)));
        let required = argument.optional.is_none() && argument.attribute.default.is_none();
        let completes = argument.attribute.complete.as_ref().map(|_| quote!(.completes(true)));
        quote!(.argument(#root::PromptArgument::new(#wire) #description .required(#required) #completes))
    });
    let icon = attribute.icon.as_ref().map(|src| quote!(.icon(#root::Icon::new(#src))));
    let states = states(function);
    quote!(#root::PromptSpec::new(#name) #title #description #(#arguments)* #icon #states)
}

fn body(function: &Function, names: &Names) -> TokenStream {
    let read = function.arguments().enumerate().map(|(number, argument)| {
        let (variable, value) = (local("argument", number), value(argument, names));
        quote!(let #variable = #value;)
    });
    let read: TokenStream = read.collect();
    let Call { before, value } = Call::new(
        function,
        names,
        |number, _| {
            let variable = local("argument", number);
            quote!(#variable)
        },
        &TokenStream::new(),
    );
    let outcome = outcome(function, names, "IntoPromptResult", &value);
    quote! {
        #read
        #before
        #outcome
    }
}

/// Returns the expression that reads one argument.
fn value(argument: &Argument, names: &Names) -> TokenStream {
    let Names { support, ctx, .. } = names;
    let (wire, ty) = (&argument.wire, argument.optional.as_ref().unwrap_or(&argument.ty));
    let optional = quote!(#support::optional_prompt_argument::<#ty>(&#ctx, #wire)?);
    match (&argument.attribute.default, &argument.optional) {
        (None, None) => quote!(#support::prompt_argument::<#ty>(&#ctx, #wire)?),
        (None | Some(DefaultValue::OfType), Some(_)) => optional,
        (Some(DefaultValue::OfType), None) => quote!(::core::option::Option::unwrap_or_default(#optional)),
        (Some(DefaultValue::Is(default)), inner) => {
            let given = if inner.is_some() {
                quote!(::core::option::Option::Some(trunkline_given))
            } else {
                quote!(trunkline_given)
            };
            let default = schema::default_expression(default);
            quote! {
                match #optional {
                    ::core::option::Option::Some(trunkline_given) => #given,
                    ::core::option::Option::None => #default,
                }
            }
        }
    }
}

/// Writes `complete` of a prompt or a resource; nothing when no argument has completions.
pub(super) fn complete(function: &Function, names: &Names) -> Option<TokenStream> {
    let Names { root, support, .. } = names;
    let [name, typed] =
        ["name", "typed"].map(|word| format_ident!("trunkline_{word}", span = Span::mixed_site()));
    let arms: Vec<_> = function
        .arguments()
        .filter_map(|argument| {
            let wire = &argument.wire;
            // The spans make an error about what is returned point at the list or the function.
            let value = match argument.attribute.complete.as_ref()? {
                Complete::List(list) => {
                    quote_spanned!(list.span()=> #support::complete_from(&#list, &#typed))
                }
                Complete::Function(path) => {
                    quote_spanned!(path.span()=> #support::complete_with(#path(#typed)))
                }
            };
            Some(quote!(#wire => #value,))
        })
        .collect();
    (!arms.is_empty()).then(|| {
        quote! {
            fn complete(&self, #name: &str, #typed: #root::CompletionContext) -> #root::CompletionFuture {
                match #name {
                    #(#arms)*
                    _ => #support::complete_nothing(),
                }
            }
        }
    })
}
