//! Tells a thing given as it is from one given by the function that makes it, so that one method takes both.

/// Given as it is.
#[derive(Debug)]
pub enum ByValue {}

/// Given by the function that makes it.
#[derive(Debug)]
pub enum ByFunction {}

/// Lets a trait take a thing that is one already, and a function without arguments that returns one.
macro_rules! given_as_value_or_function {
    ($into:ident, $unit:ident, $method:ident) => {
        #[diagnostic::do_not_recommend]
        impl<T: $unit> $into<$crate::sdk::markers::ByValue> for T {
            type $unit = T;

            fn $method(self) -> T {
                self
            }
        }

        #[diagnostic::do_not_recommend]
        impl<F: Fn() -> T, T: $unit> $into<$crate::sdk::markers::ByFunction> for F {
            type $unit = T;

            fn $method(self) -> T {
                self()
            }
        }
    };
}

pub(crate) use given_as_value_or_function;
