//! What the three attributes have in common: the type and the function a user's function turns into.

mod call;
mod prompt;
mod resource;
mod schema;
mod tool;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Item, ItemFn};

use crate::arg::Owner;
use crate::docs;
use crate::error::Errors;
use crate::function::Function;
use crate::item::{ItemAttribute, wrong_name};

/// Expands one attribute: the item it stands on, and all mistakes of that item.
pub(crate) fn expand(owner: Owner, attribute: TokenStream, item: TokenStream) -> TokenStream {
    let item = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Fn(function)) => function,
        Ok(other) => return misplaced(owner, &other),
        // The compiler says more about its own syntax than could be said here.
        Err(error) => return error.to_compile_error(),
    };
    let mut errors = Errors::default();
    let attribute = ItemAttribute::read(attribute, owner, &mut errors);
    let original = item.clone();
    let function = Function::read(item, owner, &mut errors);
    let name = wire_name(&function, &attribute, owner, &mut errors);
    let names = Names::new(attribute.root.clone());
    let implementation = match owner {
        Owner::Tool => tool::implementation(&function, &attribute, &name, &names),
        Owner::Prompt => prompt::implementation(&function, &attribute, &name, &names),
        Owner::Resource => resource::implementation(&function, &attribute, &name, &names, &mut errors),
    };
    match errors.into_tokens() {
        None => items(&function, owner, implementation),
        Some(errors) if function.is_method() => method_alone(errors, original),
        Some(errors) => {
            let items = items(&function, owner, placeholder(&function, owner, &names));
            quote!(#errors #items)
        }
    }
}

/// The paths and names of generated code.
pub(crate) struct Names {
    /// The `trunkline` crate.
    root: TokenStream,
    /// What generated code names of other crates.
    support: TokenStream,
    /// The context of the call. No local variable of the user's can meet it.
    ctx: Ident,
    /// The arguments of the call.
    args: Ident,
    /// The type of the arguments.
    arguments: Ident,
}

impl Names {
    fn new(root: TokenStream) -> Self {
        let support = quote!(#root::macros_support);
        let [ctx, args] =
            ["trunkline_ctx", "trunkline_args"].map(|name| Ident::new(name, Span::mixed_site()));
        Self { root, support, ctx, args, arguments: format_ident!("TrunklineArguments") }
    }
}

/// Returns the name clients use: `name = ".."`, or that of the function.
fn wire_name(function: &Function, attribute: &ItemAttribute, owner: Owner, errors: &mut Errors) -> String {
    if let Some(name) = &attribute.name {
        return name.value();
    }
    let name = function.ident().unraw().to_string();
    if let Some(text) = wrong_name(&name, owner) {
        errors.at(function.ident().span(), format!("{text}, with `name = \"..\"`"));
    }
    name
}

/// Says that the attribute stands on something that is no function, and leaves that as it is.
fn misplaced(owner: Owner, item: &Item) -> TokenStream {
    let (word, attribute) = (owner.word(), owner.attribute());
    let (found, instead) = match item {
        Item::Impl(_) => (
            "an `impl`",
            "write a function for each, outside of it, and take what `self` holds as `State<T>`",
        ),
        Item::Struct(_) => ("a struct", FUNCTION),
        Item::Enum(_) => ("an enum", FUNCTION),
        Item::Trait(_) => ("a trait", FUNCTION),
        Item::Mod(_) => ("a module", FUNCTION),
        _ => ("this", FUNCTION),
    };
    let mut errors = Errors::default();
    let text = format!("`{attribute}` makes a {word} of a function, and {found} is none; {instead}");
    errors.on(item_head(item), text);
    let errors = errors.into_tokens();
    quote!(#errors #item)
}

/// Returns the token an error about a whole item points at.
fn item_head(item: &Item) -> TokenStream {
    match item {
        Item::Struct(item) => {
            let ident = &item.ident;
            quote!(#ident)
        }
        Item::Enum(item) => {
            let ident = &item.ident;
            quote!(#ident)
        }
        Item::Impl(item) => {
            let (token, ty) = (&item.impl_token, &item.self_ty);
            quote!(#token #ty)
        }
        other => quote!(#other),
    }
}

/// Gives a method back without `#[arg]`, beside its mistakes: the items of a tool cannot stand in an `impl`.
fn method_alone(errors: TokenStream, mut item: ItemFn) -> TokenStream {
    for input in &mut item.sig.inputs {
        if let syn::FnArg::Typed(parameter) = input {
            parameter.attrs.retain(|attribute| !attribute.path().is_ident("arg") && !docs::is_doc(attribute));
        }
    }
    quote!(#errors #item)
}

/// Writes the type, the function under the same name that returns it, and the function as the user wrote it.
///
/// The type is `struct name {}`, not `struct name;`: so only the function has the name as a value, and a function, unlike
/// a constant or a unit struct, does not stop anyone from calling a local variable the same.
fn items(function: &Function, owner: Owner, implementation: TokenStream) -> TokenStream {
    let (ident, item) = (function.ident(), &function.item);
    let (vis, block) = (&item.vis, &item.block);
    let (cfgs, docs) = (conditions(&item.attrs), documentation(function, owner));
    let [deprecated, attributes] = attributes(&item.attrs);
    let mut signature = item.sig.clone();
    signature.ident = format_ident!("call", span = ident.span());
    quote! {
        #(#cfgs)*
        #docs
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #[allow(non_camel_case_types, reason = "it has the name of the function")]
        #vis struct #ident {}

        #(#cfgs)*
        #docs
        #(#deprecated)*
        #[doc(hidden)]
        #[inline]
        #[must_use]
        #vis fn #ident() -> #ident {
            #ident {}
        }

        #(#cfgs)*
        impl #ident {
            #docs
            #(#attributes)*
            #[allow(
                clippy::missing_errors_doc,
                clippy::must_use_candidate,
                clippy::needless_pass_by_value,
                clippy::too_many_arguments,
                clippy::unused_async,
                reason = "its form is that of a tool"
            )]
            #vis #signature #block
        }

        #(#cfgs)*
        const _: () = {
            #implementation
        };
    }
}

/// Returns the attributes that decide whether the function exists.
fn conditions(attributes: &[Attribute]) -> Vec<&Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect()
}

/// Returns the other attributes: `deprecated`, which is for those who hand the function to a server, and those of the
/// function itself.
fn attributes(attributes: &[Attribute]) -> [Vec<&Attribute>; 2] {
    let elsewhere =
        |attribute: &&Attribute| ["cfg", "doc"].iter().any(|name| attribute.path().is_ident(name));
    let own = attributes.iter().filter(|attribute| !elsewhere(attribute));
    let (deprecated, own) = own.partition(|attribute| attribute.path().is_ident("deprecated"));
    [deprecated, own]
}

/// Returns the user's doc comments, or one that is true, and what else is said to rustdoc.
fn documentation(function: &Function, owner: Owner) -> TokenStream {
    let attributes = &function.item.attrs;
    let text = format!("The {} `{}`.", owner.word(), function.ident().unraw());
    let own = (!attributes.iter().any(docs::is_doc)).then(|| quote!(#[doc = #text]));
    let docs = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    quote!(#own #(#docs)*)
}

/// Stands in for the implementation of an item with mistakes, so that no further error comes from where it is used.
fn placeholder(function: &Function, owner: Owner, names: &Names) -> TokenStream {
    let (ident, root) = (function.ident(), &names.root);
    let (interface, spec, run) = match owner {
        Owner::Tool => (quote!(Tool), quote!(ToolSpec), quote!(call)),
        Owner::Prompt => (quote!(Prompt), quote!(PromptSpec), quote!(get)),
        Owner::Resource => (quote!(Resource), quote!(ResourceSpec), quote!(read)),
    };
    quote! {
        impl #root::#interface for #ident {
            fn spec(&self) -> #root::#spec {
                loop {}
            }

            fn #run(&self, _: #root::Context) -> #root::ToolFuture {
                loop {}
            }
        }
    }
}

const FUNCTION: &str = "write `async fn name(..) -> Result<.., ..>`";

#[cfg(test)]
mod tests;
