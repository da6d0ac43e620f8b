//! A response with an answer in it: streamed, or whole.

use axum::body::Body;
use axum::response::Response;
use engine_api::{Event, Placement};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::ApiBounds;
use super::runs::Runs;
use super::stream::{self, EventWriter};
use crate::error::{RECEIPT, Refusal, Refused};
use crate::pipeline::Run;
use crate::reservation::RateLeft;

/// Puts a whole answer together.
pub trait Gather {
    /// Takes the next event of the prompt with this index.
    fn push(&mut self, prompt: usize, event: Event);

    /// The JSON text; `None` while a choice runs or the usage is not known.
    fn json(&self) -> Option<Vec<u8>>;
}

/// The answer as it is made.
pub fn streamed(runs: Runs, writer: impl EventWriter, bounds: &ApiBounds) -> Response {
    let headers = headers(runs.all());
    let mut response = stream::respond(runs, writer, bounds);
    response.headers_mut().extend(headers);
    response
}

/// Waits for the whole answer. When the client goes away, this future is dropped, and the runs
/// with it.
pub async fn whole(mut runs: Runs, mut gathered: impl Gather) -> Result<Response, Refused> {
    let headers = headers(runs.all());
    let receipt = runs.all()[0].receipt().clone();
    while let Some((prompt, event)) = runs.next().await {
        match event {
            Ok(event) => gathered.push(prompt, event),
            Err(error) => return Err(runs.fail(prompt, error).await),
        }
    }
    runs.settle().await?;
    let Some(json) = gathered.json() else {
        return Err(Refused { receipt: Some(receipt), ..Refusal::Internal.into() });
    };
    let mut response = Response::new(Body::from(json));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response.headers_mut().extend(headers);
    Ok(response)
}

/// One receipt for each prompt, in their order; the rate as the last of them left it.
fn headers(runs: &[Run]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for run in runs {
        headers.append(RECEIPT, run.receipt().header());
        rate(run.rate(), &mut headers);
    }
    headers
}

/// What is left of the caller's rate.
pub fn rate(rate: RateLeft, headers: &mut HeaderMap) {
    let RateLeft { max, left, full_after } = rate;
    headers.insert("x-ratelimit-limit-requests", max.into());
    headers.insert("x-ratelimit-remaining-requests", left.into());
    let reset = format!("{}ms", full_after.as_millis());
    let reset = HeaderValue::try_from(reset).expect("digits may stand in a header");
    headers.insert("x-ratelimit-reset-requests", reset);
}

/// What results are equal with: clients compare it between answers.
pub fn fingerprint(placement: &Placement) -> String {
    let digest = placement.model_digest.to_string();
    format!("{}/{}", placement.numerics, &digest[..12])
}
