//! What can be told from how a type is written: extractors, `Option`, text, numbers, lists, `impl Trait`.

use syn::{
    GenericArgument, Path, PathArguments, PathSegment, ReturnType, Type, TypeImplTrait, TypeParamBound,
};

/// What kind of JSON value a type stands for, as far as its name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Integer,
    Float,
    Flag,
    List,
    /// A type of the user's own, or one that is not known here: anything may fit.
    Unknown,
}

impl Shape {
    /// Returns what it is called in an error.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer | Self::Float => "a number",
            Self::Flag => "a flag",
            Self::List => "a list",
            Self::Unknown => "a type of its own",
        }
    }
}

/// Returns the shape of a type; that of `T` for `Option<T>`.
pub(crate) fn shape(ty: &Type) -> Shape {
    let ty = option_inner(ty).unwrap_or(ty);
    let Some(segment) = last_segment(ty) else {
        return if matches!(bare(ty), Type::Array(_) | Type::Slice(_)) {
            Shape::List
        } else {
            Shape::Unknown
        };
    };
    match segment.ident.to_string().as_str() {
        "String" | "char" => Shape::Text,
        "bool" => Shape::Flag,
        "f32" | "f64" => Shape::Float,
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => {
            Shape::Integer
        }
        "Vec" | "VecDeque" | "HashSet" | "BTreeSet" => Shape::List,
        _ => Shape::Unknown,
    }
}

/// Returns the type inside invisible groups and parentheses.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// Returns the last word of a path type: `State<Db>` for `trunkline::State<Db>`.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match bare(ty) {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    }
}

/// Returns `T` of `Name<T>`, when the type is called `name` and has exactly that argument.
pub(crate) fn inner_of<'t>(ty: &'t Type, name: &str) -> Option<&'t Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == name)?;
    match types_in(segment).as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

/// Returns `T` of `Option<T>`.
pub(crate) fn option_inner(ty: &Type) -> Option<&Type> {
    inner_of(ty, "Option")
}

/// Returns the first type argument of `Result<T, ..>`.
pub(crate) fn result_inner(ty: &Type) -> Option<&Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "Result")?;
    types_in(segment).first().copied()
}

/// Returns whether the type is called `name` and has no arguments.
pub(crate) fn is_plain(ty: &Type, name: &str) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == name && segment.arguments.is_none())
}

/// Returns the name of the trait of `impl Trait`, the last word of its path.
pub(crate) fn impl_trait_name(ty: &Type) -> Option<String> {
    let Type::ImplTrait(TypeImplTrait { bounds, .. }) = bare(ty) else { return None };
    let path = bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => Some(&bound.path),
        _ => None,
    })?;
    path_name(path)
}

/// Returns the first reference in a type, the type itself included.
pub(crate) fn first_reference(ty: &Type) -> Option<&Type> {
    find(ty, &|ty| matches!(ty, Type::Reference(_)))
}

/// Returns the first `impl Trait` in a type, the type itself included.
pub(crate) fn first_impl_trait(ty: &Type) -> Option<&Type> {
    find(ty, &|ty| matches!(ty, Type::ImplTrait(_)))
}

/// Returns the written return type.
pub(crate) fn returned(output: &ReturnType) -> Option<&Type> {
    match output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => Some(ty),
    }
}

fn path_name(path: &Path) -> Option<String> {
    path.segments.last().map(|segment| segment.ident.to_string())
}

fn types_in(segment: &PathSegment) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return Vec::new() };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

fn find<'t>(ty: &'t Type, wanted: &impl Fn(&Type) -> bool) -> Option<&'t Type> {
    let ty = bare(ty);
    if wanted(ty) {
        return Some(ty);
    }
    match ty {
        Type::Array(array) => find(&array.elem, wanted),
        Type::Slice(slice) => find(&slice.elem, wanted),
        Type::Reference(reference) => find(&reference.elem, wanted),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(|ty| find(ty, wanted)),
        Type::Path(path) => path.path.segments.iter().flat_map(types_in).find_map(|ty| find(ty, wanted)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(text: &str) -> Type {
        syn::parse_str(text).unwrap()
    }

    #[test]
    fn extractors_are_told_by_their_last_word() {
        assert!(inner_of(&ty("trunkline::State<Db>"), "State").is_some());
        assert!(inner_of(&ty("State"), "State").is_none());
        assert!(inner_of(&ty("State<A, B>"), "State").is_none());
        assert!(is_plain(&ty("a::Context"), "Context"));
        assert!(!is_plain(&ty("Context<T>"), "Context"));
        assert!(result_inner(&ty("anyhow::Result<String>")).is_some());
    }

    #[test]
    fn the_shape_looks_through_option() {
        for (text, expected) in [
            ("String", Shape::Text),
            ("Option<std::string::String>", Shape::Text),
            ("u8", Shape::Integer),
            ("f64", Shape::Float),
            ("bool", Shape::Flag),
            ("Option<Vec<u8>>", Shape::List),
            ("[u8; 3]", Shape::List),
            ("Operation", Shape::Unknown),
        ] {
            assert_eq!(shape(&ty(text)), expected, "{text}");
        }
    }

    #[test]
    fn references_and_impl_traits_are_found_inside() {
        assert!(first_reference(&ty("Option<(u8, &str)>")).is_some());
        assert!(first_reference(&ty("Option<(u8, String)>")).is_none());
        assert!(first_impl_trait(&ty("Result<Json<impl Serialize>, E>")).is_some());
        assert_eq!(impl_trait_name(&ty("impl futures::Stream<Item = u8> + Send")).as_deref(), Some("Stream"));
    }
}
