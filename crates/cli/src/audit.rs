//! The audit record in the database of a connector, which no guard knows.

pub(crate) mod postgres;
