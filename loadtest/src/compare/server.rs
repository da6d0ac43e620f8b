//! One server of a comparison, as the command line has it.

use std::path::PathBuf;
use std::str::FromStr;

use super::memory::Processes;

/// Where a server is, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// What it is called in the figures.
    pub name: String,
    /// Where the API is, `/v1` included.
    pub url: String,
    /// The model; the first of `GET /models` when absent.
    pub model: Option<String>,
    /// A file with the bearer key.
    pub key_file: Option<PathBuf>,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// What runs it on this machine.
    pub processes: Option<Processes>,
}

impl FromStr for Server {
    type Err = String;

    /// Reads `name=NAME,url=URL` and the other fields, in any order.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut name, mut url, mut model) = (None, None, None);
        let (mut key_file, mut ca, mut processes) = (None, None, None);
        for field in text.split(',') {
            let (field, value) =
                field.split_once('=').ok_or(format!("`{field}` is not FIELD=VALUE"))?;
            let place = match field {
                "name" => &mut name,
                "url" => &mut url,
                "model" => &mut model,
                "key-file" => &mut key_file,
                "ca" => &mut ca,
                "process" => &mut processes,
                _ => {
                    return Err(format!(
                        "`{field}` is not a field: there are name, url, model, key-file, ca and process"
                    ));
                }
            };
            if value.is_empty() {
                return Err(format!("`{field}` has no value"));
            }
            if place.replace(value.to_string()).is_some() {
                return Err(format!("`{field}` stands twice"));
            }
        }
        Ok(Self {
            name: name.ok_or("the field `name` is missing")?,
            url: url.ok_or("the field `url` is missing")?,
            model,
            key_file: key_file.map(PathBuf::from),
            ca: ca.map(PathBuf::from),
            processes: processes.map(|text| Processes::new(&text)),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_come_in_any_order() {
        let server: Server = "url=https://a/v1?b=c,name=one,process=7,key-file=k".parse().unwrap();
        assert_eq!((server.name.as_str(), server.url.as_str()), ("one", "https://a/v1?b=c"));
        assert_eq!(server.processes, Some(Processes::Tree(7)));
        assert_eq!(server.key_file, Some(PathBuf::from("k")));
        assert_eq!((server.model, server.ca), (None, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("name=a", "the field `url` is missing"),
            ("url=a", "the field `name` is missing"),
            ("name=a,url=b,port=1", "`port` is not a field"),
            ("name=a,name=b,url=c", "`name` stands twice"),
            ("name=a,url=", "`url` has no value"),
            ("hanse", "`hanse` is not FIELD=VALUE"),
        ] {
            let error = text.parse::<Server>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
