//! What is kept of answers that only read, so that equal questions need not be asked again.
