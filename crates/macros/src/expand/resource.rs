//! The implementation of `Resource` for the type of a function, and the match of its parameters with its URI.

use proc_macro2::TokenStream;
use quote::quote;
use syn::LitStr;

use super::Names;
use super::call::{Call, local, outcome, states};
use super::prompt::complete;
use crate::error::{Errors, list, nearest};
use crate::function::Function;
use crate::item::ItemAttribute;
use crate::uri::{self, Variable};

/// Writes `impl Resource`, and notes parameters and variables that have no counterpart.
pub(super) fn implementation(
    function: &Function,
    attribute: &ItemAttribute,
    name: &str,
    names: &Names,
    errors: &mut Errors,
) -> TokenStream {
    let Some(address) = &attribute.uri else { return TokenStream::new() };
    if let Err(text) = counterparts(function, address, errors) {
        errors.at(address.span(), text);
    }
    let Names { root, ctx, .. } = names;
    let ident = function.ident();
    let (spec, body) = (spec(function, attribute, (address, name), names), body(function, names));
    let complete = complete(function, names);
    quote! {
        impl #root::Resource for #ident {
            fn spec(&self) -> #root::ResourceSpec {
                #spec
            }

            fn read(&self, #ctx: #root::Context) -> #root::ToolFuture {
                ::std::boxed::Box::pin(async move { #body })
            }

            #complete
        }
    }
}

/// Notes parameters that are no variables, and variables that are no parameters.
///
/// # Errors
/// What is wrong with the URI itself.
fn counterparts(function: &Function, address: &LitStr, errors: &mut Errors) -> Result<(), String> {
    let text = address.value();
    let variables = if uri::is_template(&text) {
        uri::variables(&text)?
    } else {
        uri::scheme(&text)?;
        Vec::new()
    };
    let known: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
    // A variable that a parameter was probably meant for is not reported a second time.
    let mut taken: Vec<&str> = function.arguments().map(|argument| argument.wire.as_str()).collect();
    for argument in function.arguments() {
        match variables.iter().find(|variable| variable.name == argument.wire) {
            None => {
                errors.on(&argument.ident, no_variable(&argument.wire, &text, &known));
                taken.extend(nearest(&argument.wire, &known));
            }
            Some(Variable { may_be_missing: true, .. }) if argument.optional.is_none() => errors.on(
                &argument.ty,
                format!(
                    "`{}` is in the query of `{text}` and may be missing; write `Option<..>`",
                    argument.wire
                ),
            ),
            Some(_) => {}
        }
    }
    // With a parameter that could not be read, a variable may only seem to be left over.
    let complete = function.parameters.len() == function.item.sig.inputs.len();
    for variable in known.iter().filter(|variable| complete && !taken.contains(variable)) {
        errors.at(
            address.span(),
            format!(
                "the function does not take the variable `{variable}`; add the parameter `{variable}: String`, or one of another type that implements `FromStr`"
            ),
        );
    }
    Ok(())
}

fn no_variable(name: &str, uri: &str, known: &[&str]) -> String {
    match (nearest(name, known), known) {
        (_, []) => format!(
            "`{name}` is no variable: the URI `{uri}` has none; write `{{{name}}}` in it, or take what the server holds as `State<T>`"
        ),
        (Some(near), _) => format!("`{name}` is no variable of `{uri}`; did you mean `{near}`?"),
        (None, _) => format!(
            "`{name}` is no variable of `{uri}`; write `{{{name}}}` in it, or take one of {}",
            list(known)
        ),
    }
}

fn spec(
    function: &Function,
    attribute: &ItemAttribute,
    (address, name): (&LitStr, &str),
    names: &Names,
) -> TokenStream {
    let root = &names.root;
    let title = attribute.title.as_ref().map(|title| quote!(.title(#title)));
    let description =
        attribute.description.as_ref().map(|text| quote!(#text)).or(function.description.clone());
    let description = description.map(|text| quote!(.description(#text)));
    let mime = attribute.mime.as_ref().map(|mime| quote!(.mime_type(#mime)));
    let subscribe = attribute.subscribe.then(|| quote!(.subscribe(true)));
    let icon = attribute.icon.as_ref().map(|src| quote!(.icon(#root::Icon::new(#src))));
    let hints = attribute.hints_of_resource.calls(root);
    let completes: Vec<&str> = function
        .arguments()
        .filter(|argument| argument.attribute.complete.is_some())
        .map(|argument| argument.wire.as_str())
        .collect();
    let completes = (!completes.is_empty()).then(|| quote!(.completes(&[#(#completes),*])));
    let states = states(function);
    quote! {
        #root::ResourceSpec::new(#address, #name) #title #description #mime #subscribe #hints #icon #completes #states
    }
}

fn body(function: &Function, names: &Names) -> TokenStream {
    let Names { support, ctx, .. } = names;
    let read = function.arguments().enumerate().map(|(number, argument)| {
        let (variable, wire) = (local("variable", number), &argument.wire);
        let value = match &argument.optional {
            Some(ty) => quote!(#support::optional_variable::<#ty>(&#ctx, #wire)?),
            None => {
                let ty = &argument.ty;
                quote!(#support::variable::<#ty>(&#ctx, #wire)?)
            }
        };
        quote!(let #variable = #value;)
    });
    let read: TokenStream = read.collect();
    let Call { before, value } = Call::new(
        function,
        names,
        |number, _| {
            let variable = local("variable", number);
            quote!(#variable)
        },
        &TokenStream::new(),
    );
    let outcome = outcome(function, names, "IntoResourceResult", &value);
    quote! {
        #read
        #before
        #outcome
    }
}
