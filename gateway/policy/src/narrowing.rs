//! The caller's wish for fewer jurisdictions: the header `x-hanse-residency`.

use crate::jurisdiction::listed;
use crate::{Jurisdiction, Jurisdictions, Policies};

/// Countries to which one request is narrowed. It can only take away: [`crate::decide`]
/// intersects it with what the tenant has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Narrowing(Jurisdictions);

/// The header cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}; give country codes or groups with commas between them, for example `DE,FR`")]
pub struct NarrowingError {
    message: String,
}

impl Narrowing {
    /// The most items that one header may have.
    pub const ITEMS_MAX: usize = 64;

    /// The countries, groups resolved.
    pub fn jurisdictions(&self) -> &Jurisdictions {
        &self.0
    }
}

impl Policies {
    /// Reads the value of `x-hanse-residency`, for example `DE,FR` or `EU`. Several header
    /// lines are one list (RFC 9110, section 5.3): join them with commas.
    ///
    /// # Errors
    ///
    /// An empty value or item, an unknown country or group, or more than
    /// [`Narrowing::ITEMS_MAX`] items. Nothing is skipped: a wish that cannot be read must
    /// never be less strict than it was meant.
    pub fn narrowing(&self, header: &str) -> Result<Narrowing, NarrowingError> {
        if header.split(',').count() > Narrowing::ITEMS_MAX {
            let message = format!("there are more than {} items", Narrowing::ITEMS_MAX);
            return Err(NarrowingError { message });
        }
        let mut countries = Jurisdictions::new();
        for item in header.split(',').map(|item| item.trim_matches([' ', '\t'])) {
            if item.is_empty() {
                return Err(NarrowingError { message: "an item is empty".into() });
            }
            match self.group(item) {
                Some(members) => countries.extend(members),
                None => drop(countries.insert(self.country(item)?)),
            }
        }
        Ok(Narrowing(countries))
    }

    fn country(&self, item: &str) -> Result<Jurisdiction, NarrowingError> {
        item.parse().map_err(|error| NarrowingError {
            message: format!("{error} and no group (there are {})", listed(self.groups())),
        })
    }
}
