//! Arguments and results against their schemas, from outside.

mod official;
