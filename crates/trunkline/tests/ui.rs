//! Compiles programs that use the macros in a way they refuse, and compares what the compiler says with what it should. What they
//! take is in `works.rs` and `lints.rs`, which are compiled with all other tests: here, where nothing is run, the SDK is only
//! checked, which takes much less time.

#[test]
fn what_the_macros_refuse_says_what_to_write() {
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}
