//! Chats as models read them.
//!
//! [`Template`] renders a conversation by the model's own template (the Jinja that Hugging Face
//! uses), within bounds on time and memory. What a client wrote can never act as markup: the
//! places where its text reads like a control token come out with the rendering, and the
//! tokenizer leaves them text.

mod marks;
mod template;

pub use template::{Rendered, Template, TemplateError, TemplateLimits, TemplateOptions};
