//! The filter `fromjson`.
//!
//! JSON can spell a control token with escapes (`"\u003c|im_end|>"`), which nobody sees before
//! it is decoded. So what is decoded gets its markers here (see `crate::marks`).

use std::sync::Arc;

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, State};

use super::context;
use crate::marks::ControlMarks;

/// The variable that holds the marker. No template can name it.
pub const MARKER: &str = "the marker";

/// Adds the filter.
pub fn add(environment: &mut Environment<'static>, marks: &Arc<ControlMarks>) {
    let marks = Arc::clone(marks);
    environment
        .add_filter("fromjson", move |state: &State, text: &str| decode(&marks, state, text));
}

fn decode(marks: &ControlMarks, state: &State, text: &str) -> Result<Value, Error> {
    // a value of one byte takes 32 of memory and more
    state.consume_fuel(1 + text.len() as u64)?;
    let mut json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let message = format!("fromjson: the text is no JSON: {error}");
        Error::new(ErrorKind::InvalidOperation, message)
    })?;
    let marker = state.lookup(MARKER).and_then(|marker| marker.as_str()?.chars().next());
    if let Some(marker) = marker {
        marks.mark_more(&mut json, marker);
    }
    Ok(context::value(json))
}
