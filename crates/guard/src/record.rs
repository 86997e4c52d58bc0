//! The audit record: every decision and call, in lines that hold names, sizes and shapes and never values.
