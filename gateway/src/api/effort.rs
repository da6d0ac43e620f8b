//! How much a model reasons, in OpenAI's words.

use engine_api::{ReasoningEffort, TemplateArguments};

use super::fields::{Fields, Invalid};

/// Reads a field that says how much. `none` is that the model does not reason.
pub fn effort(fields: &Fields<'_>, name: &str) -> Result<TemplateArguments, Invalid> {
    let mut arguments = TemplateArguments::default();
    arguments.reasoning_effort = match fields.text(name)? {
        None => None,
        Some("none") => {
            arguments.thinking = Some(false);
            None
        }
        Some("minimal") => Some(ReasoningEffort::Minimal),
        Some("low") => Some(ReasoningEffort::Low),
        Some("medium") => Some(ReasoningEffort::Medium),
        // no open model knows more than that
        Some("high" | "xhigh" | "max") => Some(ReasoningEffort::High),
        Some(_) => {
            let message = "must be \"none\", \"minimal\", \"low\", \"medium\", \"high\" or \
                           \"xhigh\"";
            return Err(Invalid::value(fields.path(name), message));
        }
    };
    Ok(arguments)
}
