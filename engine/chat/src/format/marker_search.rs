//! Finds markers in a text that comes letter by letter.

/// Holds back what may become a marker, and no more than that.
#[derive(Debug)]
pub struct MarkerSearch {
    markers: Vec<&'static str>,
    /// The begin of at least one marker, or what has not been asked for yet.
    held: String,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// A letter that belongs to no marker.
    Text(char),
    /// The marker with this index.
    Marker(usize),
}

impl MarkerSearch {
    /// Where two markers begin at one place, the earlier in this list wins.
    pub fn new(markers: Vec<&'static str>) -> Self {
        Self { markers, held: String::new() }
    }

    /// The text of a marker.
    pub fn marker(&self, index: usize) -> &'static str {
        self.markers[index]
    }

    /// Adds a letter.
    pub fn push(&mut self, letter: char) {
        self.held.push(letter);
    }

    /// What is certain so far; to be called until there is nothing. Markers that are not
    /// allowed are text.
    pub fn take(&mut self, is_allowed: impl Fn(usize) -> bool) -> Option<Found> {
        let first = self.held.chars().next()?;
        let mut may_become = false;
        for (index, marker) in self.markers.iter().enumerate() {
            if !is_allowed(index) {
                continue;
            }
            if self.held.starts_with(marker) {
                self.held.drain(..marker.len());
                return Some(Found::Marker(index));
            }
            may_become |= marker.starts_with(self.held.as_str());
        }
        if may_become {
            return None;
        }
        self.held.drain(..first.len_utf8());
        Some(Found::Text(first))
    }

    /// What is held, which it then forgets.
    pub fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}
