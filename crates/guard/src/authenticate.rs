//! Who asks: a caller from a signed token, an introspected token or an API key.
