//! Compiles programs that use the macros: those that must work are run, those that must not show what the compiler says.

#[test]
fn what_the_macros_take_compiles_and_what_they_refuse_says_what_to_write() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
