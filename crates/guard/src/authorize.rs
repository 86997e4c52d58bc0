//! What a caller may do: roles, scopes and conditions, one engine for lists and calls.
