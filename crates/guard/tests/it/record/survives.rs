//! What is left of a record when its process is killed.
