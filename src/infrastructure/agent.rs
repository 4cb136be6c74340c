//! Asks an agent that runs elsewhere, or beside this process, for its report.

use std::time::Duration;

use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::domain::limits::AGENT_REPORT_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::http::failure::unreachable;

/// How long an agent may take to answer. It serves what is rendered already.
const PATIENCE: Duration = Duration::from_secs(10);

/// The report (`/api/v1/report`) of the agent at this address, such as `http://127.0.0.1:10099`, as JSON.
///
/// # Errors
///
/// When the address is none, nobody answers there, or the answer is no report.
pub async fn fetch_report(address: &str) -> Result<Bytes, Reason> {
    let url = format!("{}/api/v1/report", address.trim_end_matches('/'));
    let failed = |kind, cause: String| Reason::new(kind, format!("get {url}: {cause}"));
    let uri: Uri = url.parse().map_err(|_| failed(ReasonKind::Misconfigured, "no valid address".into()))?;
    if uri.scheme_str() != Some("http") {
        let reason = failed(ReasonKind::Misconfigured, "not an http:// address".into());
        return Err(reason.with_hint("agents serve plain HTTP: run this on the host of the agent"));
    }
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let asked = async {
        let answer = client.get(uri).await.map_err(|error| unreachable(&error).context(format_args!("get {url}")))?;
        if !answer.status().is_success() {
            return Err(failed(ReasonKind::Failed, format!("the answer is {}", answer.status())));
        }
        let body = Limited::new(answer.into_body(), AGENT_REPORT_BYTES_MAX).collect().await;
        Ok(body.map_err(|error| failed(ReasonKind::Failed, error.to_string()))?.to_bytes())
    };
    let late = |_| failed(ReasonKind::Timeout, format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, asked).await.map_err(late)?
}
