//! Whose law a place is under.

use std::fmt;

use serde::Deserialize;

use super::document::closest;

/// A country by its ISO 3166-1 code, or `EU` where a zone spans several of its members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Jurisdiction([u8; 2]);

/// ISO 3166-1 alpha-2, as of 2026.
const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR \
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ \
    EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW \
    GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY \
    KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV \
    MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY \
    QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG \
    TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM \
    ZW";

impl Jurisdiction {
    /// Checks a code.
    pub fn new(code: &str) -> Result<Self, String> {
        let known = || COUNTRIES.split_whitespace().chain(["EU"]);
        if let (Ok(bytes), true) = (code.as_bytes().try_into(), known().any(|one| one == code)) {
            return Ok(Self(bytes));
        }
        let upper = code.to_ascii_uppercase();
        let meant = match upper.as_str() {
            "UK" => Some("GB"),
            "EL" => Some("GR"),
            _ => closest(&upper, known()).filter(|one| *one == upper),
        };
        let meant = meant.map_or_else(String::new, |one| format!("; did you mean `{one}`?"));
        Err(format!(
            "{code:?} is not a jurisdiction: an ISO 3166 country such as `DE`, or `EU`{meant}"
        ))
    }

    /// Its two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only codes of the table get in")
    }
}

impl TryFrom<String> for Jurisdiction {
    type Error = String;

    fn try_from(code: String) -> Result<Self, String> {
        Self::new(&code)
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
