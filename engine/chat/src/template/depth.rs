//! Keeps values from nesting without end.
//!
//! `{% set x.list = [x.list] %}` in a loop builds a value that is as deep as the loop is long,
//! and a namespace can be put into itself. minijinja drops, prints and compares values
//! recursively, so either would exhaust the stack and abort the process. Therefore everything
//! that is assigned goes through one of these filters (see `super::outline`).

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Deepest value that can be assigned. What clients send is at most 128 deep (serde_json).
const DEPTH_MAX: usize = 160;
/// Values that are looked at for one unit of fuel.
const VALUES_PER_FUEL: u64 = 16;

/// For `{% set name = value %}`.
pub fn kept(state: &State, value: Value) -> Result<Value, Error> {
    check(state, value, true)
}

/// For `{% set namespace.name = value %}`: not another namespace.
pub fn kept_member(state: &State, value: Value) -> Result<Value, Error> {
    check(state, value, false)
}

fn check(state: &State, value: Value, may_be_namespace: bool) -> Result<Value, Error> {
    if is_namespace(&value) && !may_be_namespace {
        return Err(refusal("a namespace cannot hold a namespace"));
    }
    let value = match value.kind() {
        // made as it is read: what it holds would stay unseen
        ValueKind::Iterable => {
            let mut items = Vec::new();
            for item in value.try_iter()? {
                state.consume_fuel(1)?;
                items.push(item);
            }
            Value::from(items)
        }
        _ => value,
    };
    let mut seen = 0;
    check_children(&value, DEPTH_MAX, &mut seen)?;
    state.consume_fuel(seen / VALUES_PER_FUEL)?;
    Ok(value)
}

fn check_children(value: &Value, depth: usize, seen: &mut u64) -> Result<(), Error> {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        return Ok(());
    }
    if depth == 0 {
        return Err(refusal("a value is nested too deep"));
    }
    let is_map = value.kind() == ValueKind::Map;
    for item in value.try_iter()? {
        *seen += 1;
        let item = if is_map { value.get_item(&item)? } else { item };
        if is_namespace(&item) {
            return Err(refusal("a value cannot hold a namespace"));
        }
        check_children(&item, depth - 1, seen)?;
    }
    Ok(())
}

fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

fn refusal(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
