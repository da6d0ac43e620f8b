//! Places.

use policy::Jurisdiction;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use toml::Spanned;

use super::Name;

/// A `[[zone]]`: a place under one law. A partition's zone is what is written here, never
/// what a worker says of itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneConfig {
    /// Its name, for example `eu-de-1`.
    pub id: Spanned<Name>,
    /// Whose law it is under: an ISO 3166 country such as `DE`.
    #[serde(deserialize_with = "country")]
    pub jurisdiction: Jurisdiction,
    /// Who runs the machines there, for evidence; never interpreted.
    pub operator: Option<String>,
}

fn country<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Jurisdiction, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}
