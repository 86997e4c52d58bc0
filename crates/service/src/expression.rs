//! Expressions of the Common Expression Language, checked when the configuration is loaded.
