//! What leaves with a result: bounded in size, without what its reader must not see.
