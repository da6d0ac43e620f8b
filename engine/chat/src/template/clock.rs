//! `strftime_now`.

use minijinja::value::Value;
use minijinja::{Error, ErrorKind};
use time::OffsetDateTime;
use time::format_description::parse_strftime_owned;

/// A function that formats `now_unix` (seconds, shown in UTC) as C's `strftime` does.
pub fn strftime_now(now_unix: i64) -> Value {
    Value::from_function(move |format: String| {
        let wrong = || {
            let message = format!("cannot format the time as `{format}`");
            Error::new(ErrorKind::InvalidOperation, message)
        };
        let now = OffsetDateTime::from_unix_timestamp(now_unix).map_err(|_| wrong())?;
        let items = parse_strftime_owned(&format).map_err(|_| wrong())?;
        now.format(&items).map_err(|_| wrong())
    })
}
