//! A request's body: bounded in length and in time, whatever size its pieces have.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use serde_json::Value;

use super::fields::Invalid;
use super::{ApiBounds, json};
use crate::error::Refusal;

/// What is read and thrown away of a body that is too long, so that the client gets to read
/// why before the connection ends.
const DISCARDED_MAX: usize = 16 << 20;
/// And for how long.
const DISCARDING_MAX: Duration = Duration::from_secs(5);

/// Bodies above this are parsed where they hold up no other request, in bytes.
const PARSED_ASIDE: usize = 128 * 1024;

/// Reads a request's body as JSON and `read`s out of it what an endpoint takes.
pub async fn parse<T: Send + 'static>(
    request: Request,
    bounds: &ApiBounds,
    read: impl FnOnce(&Value) -> Result<T, Invalid> + Send + 'static,
) -> Result<T, Refusal> {
    let (head, body) = request.into_parts();
    let body = self::read(&head.headers, body, bounds).await?;
    let parse = move |body: &[u8]| Ok(read(&json::parse(body)?)?);
    if body.len() < PARSED_ASIDE {
        return parse(&body);
    }
    let parsed = tokio::task::spawn_blocking(move || parse(&body)).await;
    parsed.map_err(|_panicked| Refusal::Internal)?
}

/// Reads the whole body.
async fn read(headers: &HeaderMap, body: Body, bounds: &ApiBounds) -> Result<Bytes, Refusal> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|value| *value != "identity") {
        let shown = encoding.to_str().unwrap_or("that").chars().take(32).collect::<String>();
        let message = format!("`content-encoding: {shown}` is not supported; send it plain");
        return Err(Invalid { param: None, code: "unsupported_encoding", message }.into());
    }
    let max = bounds.body_bytes_max;
    let declared: Option<u64> =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = body;
    let taken = async {
        match declared {
            Some(length) if length > max as u64 => Err(Refusal::BodyTooLarge { max }),
            _ => take(&mut body, max).await,
        }
    };
    let taken = tokio::time::timeout(bounds.body_read_max, taken).await;
    match taken {
        Err(_) => Err(Refusal::BodyTooSlow { max: bounds.body_read_max }),
        Ok(Err(Refusal::BodyTooLarge { max })) => {
            // whether it ends in time makes no difference to the answer
            let _ = tokio::time::timeout(DISCARDING_MAX, discard(&mut body)).await;
            Err(Refusal::BodyTooLarge { max })
        }
        Ok(taken) => taken,
    }
}

async fn take(body: &mut Body, max: usize) -> Result<Bytes, Refusal> {
    let mut taken = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::BodyBroken)?;
        // trailers are no part of a request of ours
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if taken.len() + piece.len() > max {
            return Err(Refusal::BodyTooLarge { max });
        }
        taken.extend_from_slice(&piece);
    }
    Ok(taken.freeze())
}

async fn discard(body: &mut Body) {
    let mut left = DISCARDED_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(less) => left = less,
            None => return,
        }
    }
}
