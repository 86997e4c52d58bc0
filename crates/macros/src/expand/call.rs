//! The part of a call that is the same for tools, prompts and resources: extractors, the call itself, what it needs.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::Ident;

use super::Names;
use crate::function::{Function, Output};
use crate::parameter::{Argument, Parameter};

/// A call of the user's function: what is done before, and the call.
pub(super) struct Call {
    /// `let` statements for state.
    pub(super) before: TokenStream,
    /// The value of the function, awaited.
    pub(super) value: TokenStream,
}

impl Call {
    /// Writes the call. `argument` gives the expression of one argument; `all` that of `Args`.
    pub(super) fn new(
        function: &Function,
        names: &Names,
        argument: impl Fn(usize, &Argument) -> TokenStream,
        all: &TokenStream,
    ) -> Self {
        let Names { root, ctx, .. } = names;
        let (mut before, mut given, mut number) = (TokenStream::new(), Vec::new(), 0);
        for (position, parameter) in function.parameters.iter().enumerate() {
            given.push(match parameter {
                Parameter::Context { by_reference: true } => quote!(&#ctx),
                Parameter::Context { by_reference: false } => quote!(::core::clone::Clone::clone(&#ctx)),
                Parameter::State(ty) => {
                    let state = local("state", position);
                    before.extend(quote!(let #state = #ctx.state::<#ty>()?;));
                    quote!(#root::State(#state))
                }
                Parameter::Args(_) => quote!(#root::Args(#all)),
                Parameter::Argument(one) => {
                    number += 1;
                    argument(number - 1, one)
                }
            });
        }
        let ident = function.ident();
        let wait = function.item.sig.asyncness.map(|_| quote!(.await));
        Self { before, value: quote!(#ident::call(#(#given),*) #wait) }
    }
}

/// Names a variable of generated code.
pub(super) fn local(word: &str, number: usize) -> Ident {
    format_ident!("trunkline_{word}_{number}", span = Span::mixed_site())
}

/// Returns `.states(..)`, which names the state a function takes; nothing when it takes none.
pub(super) fn states(function: &Function) -> Option<TokenStream> {
    let types: Vec<_> = function
        .parameters
        .iter()
        .filter_map(|parameter| match parameter {
            Parameter::State(ty) => Some(ty),
            _ => None,
        })
        .collect();
    let entries =
        types.iter().map(|ty| quote!((::core::any::TypeId::of::<#ty>(), ::core::any::type_name::<#ty>())));
    (!types.is_empty()).then(|| quote!(.states(&[#(#entries),*])))
}

/// Returns the statements that call the function and make its value the outcome, by the trait `interface` of the SDK.
///
/// The trait is named with the written type, so that an error about it points there.
pub(super) fn outcome(
    function: &Function,
    names: &Names,
    interface: &str,
    value: &TokenStream,
) -> TokenStream {
    let Names { root, support, ctx, .. } = names;
    let interface = format_ident!("{interface}");
    let result = Ident::new("trunkline_result", Span::mixed_site());
    let made = match function.output() {
        // Whether it is a result is told by `ToolSpec::output`; see `Returned`.
        Output::Named(ty) if interface == "IntoToolResult" => quote! {
            {
                use #support::NoResult as _;
                #support::Returned::<#ty>(::core::marker::PhantomData).into_outcome(#result, &#ctx)
            }
        },
        Output::Named(ty) => quote!(<#ty as #root::#interface>::into_outcome(#result, &#ctx)),
        Output::Unnamed => quote!(#root::#interface::into_outcome(#result, &#ctx)),
        Output::Stream => quote!(#root::#interface::into_outcome(#root::Parts(#result), &#ctx)),
        Output::ResultOfStream => quote! {
            #root::#interface::into_outcome(::core::result::Result::map(#result, #root::Parts), &#ctx)
        },
    };
    quote! {
        let #result = #value;
        #made
    }
}
