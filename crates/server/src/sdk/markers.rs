//! Tells a thing given as it is from one given by the function that makes it, so that one method takes both.

/// Given as it is.
#[derive(Debug)]
pub enum ByValue {}

/// Given by the function that makes it.
#[derive(Debug)]
pub enum ByFunction {}
