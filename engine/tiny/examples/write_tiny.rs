//! Writes a tiny model, for tests that drive the programs from outside.
//!
//! `write_tiny FILE [CONTEXT]`

use std::path::Path;

use engine_tiny::TinyModel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, rest @ ..] = arguments.as_slice() else {
        return Err("usage: write_tiny FILE [CONTEXT]".into());
    };
    let mut model = TinyModel::default();
    if let Some(context) = rest.first() {
        model.context = context.parse()?;
    }
    Ok(model.write(Path::new(file))?)
}
