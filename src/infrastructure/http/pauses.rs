//! Servers that asked to be left alone for a while (`Retry-After`, RFC 9110, 10.2.3).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use tokio::time::Instant;

use crate::domain::human::counted;
use crate::domain::limits::{CLOCK_HOSTS_MAX, RETRY_AFTER_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock;

/// Until when, by host and port.
#[derive(Debug, Default)]
pub(in super::super) struct Pauses(Mutex<HashMap<String, Instant>>);

impl Pauses {
    /// Takes in an answer.
    pub(in super::super) fn take(&self, host: &str, status: StatusCode, headers: &HeaderMap, now: Timestamp) {
        let Some(wait) = retry_after(status, headers, now).filter(|wait| !wait.is_zero()) else { return };
        let now = clock::timer();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, until| *until > now);
        if known.len() < CLOCK_HOSTS_MAX || known.contains_key(host) {
            known.insert(host.to_owned(), now + wait);
        }
    }

    /// Waits until a host may be asked again, if that is soon.
    ///
    /// # Errors
    ///
    /// When it is later than `patience` allows.
    pub(in super::super) async fn wait(&self, host: &str, patience: Duration) -> Result<(), Reason> {
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied();
        let Some(until) = until else { return Ok(()) };
        let left = until.saturating_duration_since(clock::timer());
        if left > patience {
            let left = counted(left.as_secs().max(1), "second");
            let cause = format!("the store asks to slow down and is left alone for another {left}");
            return Err(Reason::new(ReasonKind::Throttled, cause));
        }
        tokio::time::sleep_until(until).await;
        Ok(())
    }
}

/// How long a server that is too busy asks to be left alone, in seconds or until an instant; no longer than
/// [`RETRY_AFTER_MAX`].
pub(in super::super) fn retry_after(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => RETRY_AFTER_MAX,
        Err(_) => {
            let until = DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())])
    }

    #[test]
    fn a_wish_is_read_as_seconds_or_as_an_instant_and_bounded() {
        let now = Timestamp::from_second(784_111_777).unwrap();
        for (value, expected) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Thu, 01 Jan 2099 00:00:00 GMT", Some(300)),
            ("99999999999999999999999", Some(300)),
            ("3600", Some(300)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let wait = retry_after(StatusCode::SERVICE_UNAVAILABLE, &headers(value), now);
            assert_eq!(wait.map(|wait| wait.as_secs()), expected, "{value}");
        }
        assert_eq!(retry_after(StatusCode::OK, &headers("7"), now), None);
        assert_eq!(retry_after(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_is_left_alone_for_as_long_as_it_asked() {
        let pauses = Pauses::default();
        let patience = Duration::from_secs(5);
        pauses.take("a:80", StatusCode::TOO_MANY_REQUESTS, &headers("30"), Timestamp::UNIX_EPOCH);
        let refused = pauses.wait("a:80", patience).await.unwrap_err();
        let expected = "the store asks to slow down and is left alone for another 30 seconds";
        assert_eq!((refused.kind, refused.message.as_str()), (ReasonKind::Throttled, expected));
        pauses.wait("b:80", patience).await.unwrap();
        tokio::time::advance(Duration::from_secs(26)).await;
        let before = Instant::now();
        pauses.wait("a:80", patience).await.unwrap();
        assert_eq!(before.elapsed().as_secs(), 4);
        for host in 0..CLOCK_HOSTS_MAX * 2 {
            pauses.take(&host.to_string(), StatusCode::TOO_MANY_REQUESTS, &headers("30"), Timestamp::UNIX_EPOCH);
        }
        assert_eq!(pauses.0.lock().unwrap().len(), CLOCK_HOSTS_MAX);
    }
}
