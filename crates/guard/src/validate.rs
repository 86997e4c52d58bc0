//! Whether arguments fit the schema of their tool, and results the schema that was promised.
