//! Which partition gets a request. Pure: the caller has left out all zones that are not
//! permitted.

/// The place of the least burden, the first of equals.
pub(crate) fn lightest(burdens: &[usize]) -> Option<usize> {
    burdens.iter().enumerate().min_by_key(|(_, burden)| **burden).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lightest_is_taken_and_the_first_of_equals() {
        assert_eq!(lightest(&[]), None);
        assert_eq!(lightest(&[7]), Some(0));
        assert_eq!(lightest(&[3, 1, 2]), Some(1));
        assert_eq!(lightest(&[2, 1, 1]), Some(1));
    }
}
