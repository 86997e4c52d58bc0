//! The types of SQLite that a parameter can be written with, beside the JSON kinds: the one list of them.
//!
//! SQLite infers no types for parameters, so the name says what a client sends and how it is bound, and nothing more.

use crate::value::JsonKind;

/// A storage class of SQLite, by one of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqliteType {
    /// `integer`, `int`, `bigint`.
    Integer,
    /// `real`, `double`, `float`, `numeric`.
    Real,
    /// `text`.
    Text,
    /// `blob`; comes as base64.
    Blob,
}

impl SqliteType {
    /// Reads a name in any case; `None` when no parameter has that type.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "integer" | "int" | "bigint" => Self::Integer,
            "real" | "double" | "float" | "numeric" => Self::Real,
            "text" => Self::Text,
            "blob" => Self::Blob,
            _ => return None,
        })
    }

    /// Returns what a value of it looks like in JSON.
    #[must_use]
    pub fn kind(self) -> JsonKind {
        match self {
            Self::Integer => JsonKind::Integer,
            Self::Real => JsonKind::Number,
            Self::Text | Self::Blob => JsonKind::String,
        }
    }
}
