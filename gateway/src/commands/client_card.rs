//! What a client needs to know: an address, a key and a CA; as text that can be pasted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::certs::Authority;
use crate::data_dir::{DataDir, read_private};

/// How a client reaches this gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCard {
    /// With `/v1` at its end.
    pub base_url: String,
    /// Where the key is.
    pub key_file: PathBuf,
    /// The key itself.
    pub api_key: String,
    /// The CA that clients must trust; `None` where the server's certificate is of a CA that
    /// they know already.
    pub ca_file: Option<PathBuf>,
}

impl ClientCard {
    /// The development key and CA of a data directory.
    pub fn read(data: &DataDir, base_url: String) -> anyhow::Result<Self> {
        let key_file = data.development_key();
        let Some(key) = read_private(&key_file)? else {
            bail!("there is no key in {}; start the gateway once", key_file.display());
        };
        let key = String::from_utf8(key).ok().context("the development key is damaged")?;
        let ca_file = Some(Authority::certificate_file(data)).filter(|file| file.exists());
        Ok(Self { base_url, key_file, api_key: key.trim().to_owned(), ca_file })
    }

    /// Shell exports, for `eval "$(gateway env)"`. Comments come last: an `eval` without the
    /// quotes makes one line of everything.
    pub fn exports(&self) -> String {
        let mut text = String::new();
        let mut export = |name: &str, value: &str| {
            text.push_str(&format!("export {name}={}\n", quote(value)));
        };
        export("OPENAI_BASE_URL", &self.base_url);
        export("OPENAI_API_KEY", &self.api_key);
        if let Some(ca) = &self.ca_file {
            let ca = ca.display().to_string();
            export("NODE_EXTRA_CA_CERTS", &ca);
            export("SSL_CERT_FILE", &ca);
            text.push_str(
                "# SSL_CERT_FILE takes the place of the system's CAs in every program that reads it:\n\
                 # `unset SSL_CERT_FILE` before fetching from elsewhere in this shell\n",
            );
        }
        text
    }

    /// A call with curl and one with Python, for pasting.
    pub fn snippets(&self, model: &str) -> String {
        let (key_file, url) = (self.key_file.display().to_string(), &self.base_url);
        let ca = self.ca_file.as_ref().map(|file| file.display().to_string());
        let cacert =
            ca.as_deref().map_or_else(String::new, |ca| format!(" --cacert {}", quote(ca)));
        let body = format!(
            r#"{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello."}}], "max_tokens": 60}}"#
        );
        let verify = ca.as_deref().map_or_else(String::new, |ca| {
            format!(
                ",\n    http_client=DefaultHttpxClient(verify=ssl.create_default_context(cafile={}))",
                python(ca)
            )
        });
        format!(
            "curl -sS{cacert} {} \\\n  -H \"Authorization: Bearer $(cat {})\" \\\n  \
             -H 'Content-Type: application/json' \\\n  -d {}\n\n\
             python3 - <<'EOF'\nimport ssl\nfrom openai import DefaultHttpxClient, OpenAI\n\
             client = OpenAI(\n    base_url={},\n    api_key=open({}).read().strip(){verify},\n)\n\
             answer = client.chat.completions.create(\n    model={},\n    \
             messages=[{{\"role\": \"user\", \"content\": \"Say hello.\"}}],\n    max_tokens=60,\n)\n\
             print(answer.choices[0].message.content)\nEOF\n",
            quote(&format!("{url}/chat/completions")),
            quote(&key_file),
            quote(&body),
            python(url),
            python(&key_file),
            python(model),
        )
    }
}

/// The address that a client on this machine uses.
pub fn base_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("https://{}/v1", SocketAddr::new(ip, listen.port()))
}

/// The address of the gateway that serves out of a data directory now, or did last.
pub fn last_base_url(data: &DataDir) -> Option<String> {
    let text = std::fs::read_to_string(data.base_url()).ok()?;
    let url = text.trim();
    // what follows goes into a shell: only what we write ourselves is taken
    let fits = url.starts_with("https://") && url.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| url.to_owned())
}

/// One word for a POSIX shell, whatever is in it.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A string literal for Python: JSON's are a subset, but for lone surrogates, which no Rust
/// string has.
fn python(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use expect_test::expect;

    use super::*;

    fn card() -> ClientCard {
        ClientCard {
            base_url: "https://127.0.0.1:8443/v1".into(),
            key_file: "/data/keys/development.key".into(),
            api_key: "hanse_key".into(),
            ca_file: Some("/data/ca/ca.crt".into()),
        }
    }

    #[test]
    fn exports_are_a_shell_script() {
        expect![[r#"
            export OPENAI_BASE_URL='https://127.0.0.1:8443/v1'
            export OPENAI_API_KEY='hanse_key'
            export NODE_EXTRA_CA_CERTS='/data/ca/ca.crt'
            export SSL_CERT_FILE='/data/ca/ca.crt'
            # SSL_CERT_FILE takes the place of the system's CAs in every program that reads it:
            # `unset SSL_CERT_FILE` before fetching from elsewhere in this shell
        "#]]
        .assert_eq(&card().exports());
        let without = ClientCard { ca_file: None, ..card() };
        assert!(!without.exports().contains("SSL_CERT_FILE"));
    }

    #[test]
    fn snippets_can_be_pasted() {
        expect![[r#"
            curl -sS --cacert '/data/ca/ca.crt' 'https://127.0.0.1:8443/v1/chat/completions' \
              -H "Authorization: Bearer $(cat '/data/keys/development.key')" \
              -H 'Content-Type: application/json' \
              -d '{"model": "tiny", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 60}'

            python3 - <<'EOF'
            import ssl
            from openai import DefaultHttpxClient, OpenAI
            client = OpenAI(
                base_url="https://127.0.0.1:8443/v1",
                api_key=open("/data/keys/development.key").read().strip(),
                http_client=DefaultHttpxClient(verify=ssl.create_default_context(cafile="/data/ca/ca.crt")),
            )
            answer = client.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": "Say hello."}],
                max_tokens=60,
            )
            print(answer.choices[0].message.content)
            EOF
        "#]].assert_eq(&card().snippets("tiny"));
    }

    /// Whatever is in a path, the shell gives it back.
    #[test]
    fn quoting_survives_a_shell() {
        for text in ["a b", "it's", "$(touch x)", "`x`", "a\"b\\c", "ü\n", "'", "*", "--x", "!"] {
            let card = ClientCard { ca_file: Some(text.into()), api_key: text.into(), ..card() };
            let script =
                format!("{}printf %s \"$SSL_CERT_FILE|$OPENAI_API_KEY|.\"", card.exports());
            let output = Command::new("sh").arg("-c").arg(&script).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{text}|{text}|."));
        }
    }

    #[test]
    fn an_address_that_clients_can_use() {
        let url = |listen: &str| base_url(listen.parse().unwrap());
        assert_eq!(url("127.0.0.1:8443"), "https://127.0.0.1:8443/v1");
        assert_eq!(url("0.0.0.0:1"), "https://127.0.0.1:1/v1");
        assert_eq!(url("[::]:1"), "https://[::1]:1/v1");
        assert_eq!(url("10.0.0.7:1"), "https://10.0.0.7:1/v1");
    }

    #[test]
    fn only_an_address_is_taken_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(folder.path()).unwrap();
        assert_eq!(last_base_url(&data), None);
        std::fs::write(data.base_url(), "https://127.0.0.1:9/v1\n").unwrap();
        assert_eq!(last_base_url(&data).unwrap(), "https://127.0.0.1:9/v1");
        std::fs::write(data.base_url(), "https://x\nrm -r").unwrap();
        assert_eq!(last_base_url(&data), None);
    }
}
