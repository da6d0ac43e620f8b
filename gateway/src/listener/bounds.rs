//! Every bound of the edge, with its unit.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;

/// What one listener takes of strangers. Each number is set on hyper explicitly: an option
/// that is left alone is a guard that may be off.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections at once; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// Time for a TLS handshake.
    pub handshake_max: Duration,
    /// Time for a request's headers, and how long an HTTP/1 connection may be idle.
    pub header_read_max: Duration,
    /// Header fields of an HTTP/1 request.
    pub headers_max: usize,
    /// Bytes of a request's headers, decoded.
    pub header_bytes_max: u32,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Bytes that a client may send ahead on one HTTP/2 stream.
    pub stream_window_bytes: u32,
    /// Bytes that a client may send ahead on one HTTP/2 connection.
    pub connection_window_bytes: u32,
    /// Bytes that wait to be written on one HTTP/2 stream.
    pub send_buffer_bytes: usize,
    /// Streams that a client opened and reset before they were served (CVE-2023-44487).
    pub reset_streams_max: usize,
    /// Streams that were reset because the client broke the protocol (CVE-2025-8671).
    pub error_reset_streams_max: usize,
    /// How often a silent HTTP/2 connection is pinged.
    pub ping_every: Duration,
    /// How long its answer may take.
    pub ping_answer_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            handshake_max: Duration::from_secs(10),
            header_read_max: Duration::from_secs(30),
            headers_max: 64,
            header_bytes_max: 32 * 1024,
            streams_max: 256,
            stream_window_bytes: 256 * 1024,
            connection_window_bytes: 1024 * 1024,
            send_buffer_bytes: 64 * 1024,
            reset_streams_max: 20,
            error_reset_streams_max: 128,
            ping_every: Duration::from_secs(20),
            ping_answer_max: Duration::from_secs(20),
        }
    }
}

impl Bounds {
    /// hyper with all of them set.
    pub(super) fn http(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_read_max)
            .max_headers(self.headers_max)
            .max_buf_size(self.header_bytes_max as usize)
            // a client that closes its side has gone away: its work is cancelled
            .half_close(false)
            .keep_alive(true);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.streams_max)
            .initial_stream_window_size(self.stream_window_bytes)
            .initial_connection_window_size(self.connection_window_bytes)
            .adaptive_window(false)
            .max_frame_size(16 * 1024)
            .max_send_buf_size(self.send_buffer_bytes)
            .max_header_list_size(self.header_bytes_max)
            .max_pending_accept_reset_streams(self.reset_streams_max)
            .max_local_error_reset_streams(self.error_reset_streams_max)
            .keep_alive_interval(self.ping_every)
            .keep_alive_timeout(self.ping_answer_max);
        builder
    }
}
