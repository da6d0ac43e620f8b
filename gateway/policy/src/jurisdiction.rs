//! Countries.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Every officially assigned ISO 3166-1 alpha-2 code, sorted.
const CODES: &str = "\
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS \
BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE \
EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM \
HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC \
LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA \
NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW \
SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO \
TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// Exceptionally reserved in ISO 3166-1 for the European Union.
const UNION: &str = "EU";

/// Whose law applies: an officially assigned ISO 3166-1 alpha-2 code, or `EU` where an operator
/// vouches only for the Union as a whole. A zone in `EU` is in none of its member states: a
/// tenant that allows `DE` alone is not served there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jurisdiction([u8; 2]);

/// A sorted set of countries.
pub type Jurisdictions = BTreeSet<Jurisdiction>;

/// The text is not a country code.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not an ISO 3166 country code{hint}")]
pub struct JurisdictionError {
    text: String,
    hint: &'static str,
}

impl Jurisdiction {
    /// Whether this is the Union as a whole and no country.
    pub fn is_union(&self) -> bool {
        self.as_str() == UNION
    }

    /// The code, for example `DE`.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only assigned codes, which are ASCII, are kept")
    }
}

impl FromStr for Jurisdiction {
    type Err = JurisdictionError;

    /// Reads two capital letters.
    fn from_str(text: &str) -> Result<Self, JurisdictionError> {
        let assigned = |code: &str| code == UNION || CODES.split(' ').any(|one| one == code);
        if assigned(text) {
            let code = text.as_bytes().try_into().expect("an assigned code has two letters");
            return Ok(Self(code));
        }
        let hint = match text {
            "UK" => "; the United Kingdom is `GB`",
            "EL" => "; Greece is `GR`",
            "EEA" => "; it is a group, and one country is needed here",
            _ if assigned(&text.to_ascii_uppercase()) => "; write it in capital letters",
            _ => "",
        };
        // what is shown is bounded and printable, because the text may come from a client
        let text = text.chars().take(16).flat_map(char::escape_debug).collect();
        Err(JurisdictionError { text, hint })
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names with commas between them; `none` for an empty list.
pub(crate) fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_complete_and_sorted() {
        let codes: Vec<&str> = CODES.split(' ').collect();
        assert_eq!(codes.len(), 249, "ISO 3166-1 has 249 officially assigned codes");
        assert!(codes.is_sorted());
        assert!(codes.iter().all(|code| code.len() == 2));
    }

    #[test]
    fn says_what_is_wrong() {
        let shown = |text: &str| match text.parse::<Jurisdiction>() {
            Ok(country) => country.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown("DE"), "DE");
        assert_eq!(shown("EU"), "EU");
        assert_eq!(
            shown("de"),
            "`de` is not an ISO 3166 country code; write it in capital letters"
        );
        assert_eq!(shown("UK"), "`UK` is not an ISO 3166 country code; the United Kingdom is `GB`");
        assert_eq!(
            shown("EEA"),
            "`EEA` is not an ISO 3166 country code; it is a group, and one country is needed here"
        );
        for bad in ["", "D", "DEU", "XX", "D E", " DE", "DE\n", "ДЕ", "DE FR"] {
            assert!(bad.parse::<Jurisdiction>().is_err(), "{bad:?}");
        }
        let long = "x".repeat(100_000);
        assert!(long.parse::<Jurisdiction>().unwrap_err().to_string().len() < 100);
    }
}
