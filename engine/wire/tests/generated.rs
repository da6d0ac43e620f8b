//! The committed Rust text is the one that the protocol file gives.

#[path = "../examples/generate.rs"]
mod generate;

#[test]
fn the_generated_file_is_current() {
    let committed = include_str!("../src/generated.rs");
    let fresh = generate::generate().expect("the protocol file compiles");
    // not assert_eq: it would print both files
    assert!(
        committed == fresh,
        "src/generated.rs is out of date: cargo run -p engine-wire --example generate"
    );
}
