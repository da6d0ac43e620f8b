//! How far a long work on bytes is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// Bytes between two lines when the length is not known.
const LINE_BYTES: u64 = 16 << 20;

/// Counts bytes towards a total, where one is known. Writes to standard error.
pub(crate) enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// In a log: a line for each tenth of the whole.
    Lines { label: String, total: Option<u64>, next: u64 },
}

impl Progress {
    pub(crate) fn new(label: &str, total: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            let mut lines = Self::Lines { label: label.to_owned(), total, next: 0 };
            lines.reached(0);
            return lines;
        }
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let template = match total {
            Some(_) => "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{msg} {spinner} {bytes} {bytes_per_sec}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is right");
        bar.set_style(style.progress_chars("=> "));
        bar.set_message(label.to_owned());
        Self::Bar(bar)
    }

    /// So many bytes are there in all.
    pub(crate) fn reached(&mut self, bytes: u64) {
        match self {
            Self::Bar(bar) => bar.set_position(bytes),
            Self::Lines { label, total, next } => {
                if bytes < *next {
                    return;
                }
                let step = total.map_or(LINE_BYTES, |total| (total / 10).max(1));
                *next = (bytes / step + 1) * step;
                match total {
                    Some(total) => {
                        eprintln!("{label}: {} of {}", HumanBytes(bytes), HumanBytes(*total));
                    }
                    None => eprintln!("{label}: {}", HumanBytes(bytes)),
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
    }
}
