//! gpt-oss's channels as a grammar. An answer is analysis, and then a call or the final text.

use super::content::Content;
use super::lark::Lark;

/// The rules up to `calls`, which the caller writes.
pub fn start(lark: &mut Lark, is_required: bool, content: Option<&Content>) {
    if is_required {
        lark.rule("start", "analysis* calls");
    } else {
        lark.rule("start", "analysis* (preamble? calls | final)");
        let channel = channel(lark, "commentary");
        lark.rule("preamble", &format!("{channel} said {}", next(lark)));
        write_final(lark, content);
    }
    write_analysis(lark);
}

/// An answer without calls.
pub fn start_content(lark: &mut Lark, content: &Content) {
    lark.rule("start", "analysis* final");
    write_final(lark, Some(content));
    write_analysis(lark);
}

fn write_final(lark: &mut Lark, content: Option<&Content>) {
    let channel = channel(lark, "final");
    match content {
        Some(content) => {
            lark.rule("final", &format!("{channel} content"));
            lark.content("content", content);
        }
        None => {
            lark.rule("final", &format!("{channel} TEXT?"));
            lark.text();
        }
    }
}

fn write_analysis(lark: &mut Lark) {
    let channel = channel(lark, "analysis");
    lark.rule("analysis", &format!("{channel} said {}", next(lark)));
    lark.text_up_to("said", "<|end|>");
}

fn channel(lark: &Lark, name: &str) -> String {
    format!("{} \"{name}\" {}", lark.marker("<|channel|>"), lark.marker("<|message|>"))
}

/// The next message begins.
fn next(lark: &Lark) -> String {
    format!("{} \"assistant\"", lark.marker("<|start|>"))
}
