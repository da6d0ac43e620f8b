//! A server of one file, which answers badly when told to.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How one request is answered; after the last of these, rightly.
#[derive(Clone)]
pub enum Answer {
    /// Promises everything and ends after so many bytes.
    Cut(usize),
    /// The whole file with status 200, whatever range was asked for.
    Whole,
    /// Status 206 with a range that was not asked for.
    WrongRange,
    /// A status without a body.
    Status(u16),
    /// Status 302.
    Redirect(String),
}

/// What a client asked.
#[derive(Clone, Default, Debug)]
pub struct Asked {
    pub path: String,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub authorization: Option<String>,
}

struct Shared {
    content: Vec<u8>,
    version: String,
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
}

pub struct FileServer {
    url: String,
    shared: Arc<Shared>,
}

impl FileServer {
    pub fn start(content: Vec<u8>, answers: Vec<Answer>) -> Self {
        Self::with_version(content, answers, "\"v1\"")
    }

    pub fn with_version(content: Vec<u8>, answers: Vec<Answer>, version: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            content,
            version: version.into(),
            answers: Mutex::new(answers.into()),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let served = Arc::clone(&shared);
        // ends with the test's process
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                served.connections.fetch_add(1, Ordering::SeqCst);
                // a client may hang up at any time
                let _ = served.serve(&stream.unwrap());
            }
        });
        Self { url, shared }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let asked = read_request(stream)?;
        let start = asked.range.as_deref().map_or(0, |range| {
            range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
        });
        let same = asked.if_range.as_deref().is_none_or(|version| version == self.version);
        self.asked.lock().unwrap().push(asked);
        let answer = self.answers.lock().unwrap().pop_front();
        let (start, length) = match answer {
            Some(Answer::Status(status)) => return head(stream, &format!("{status} X"), "", 0),
            Some(Answer::Redirect(to)) => {
                return head(stream, "302 Found", &format!("location: {to}\r\n"), 0);
            }
            Some(Answer::WrongRange) => (start + 1, usize::MAX),
            Some(Answer::Whole) => (0, usize::MAX),
            Some(Answer::Cut(length)) => (start, length),
            None if same => (start, usize::MAX),
            None => (0, usize::MAX),
        };
        let rest = &self.content[start..];
        let (last, whole) = (self.content.len() - 1, self.content.len());
        let (status, range) = match start {
            0 => ("200 OK", String::new()),
            _ => ("206 Part", format!("content-range: bytes {start}-{last}/{whole}\r\n")),
        };
        let headers = format!("etag: {}\r\n{range}", self.version);
        head(stream, status, &headers, rest.len())?;
        let mut stream = stream;
        stream.write_all(&rest[..length.min(rest.len())])
    }
}

fn head(mut stream: &TcpStream, status: &str, headers: &str, length: usize) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    )
}

fn read_request(stream: &TcpStream) -> std::io::Result<Asked> {
    let mut asked = Asked::default();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("GET ") {
            asked.path = rest.trim_end_matches(" HTTP/1.1").into();
        }
        let Some((name, value)) = line.split_once(": ") else { continue };
        let value = Some(value.to_owned());
        match name.to_ascii_lowercase().as_str() {
            "range" => asked.range = value,
            "if-range" => asked.if_range = value,
            "authorization" => asked.authorization = value,
            _ => {}
        }
    }
    Ok(asked)
}
