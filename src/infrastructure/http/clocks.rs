//! The clocks of servers, from the Date of every answer (RFC 9110, 6.6.1), against our clock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use tokio::time::Instant;

use crate::domain::limits::{CLOCK_AGE_MAX, CLOCK_HOSTS_MAX, CLOCK_OFFSET_MAX};
use crate::infrastructure::clock;

/// The latest offsets, by host and port.
#[derive(Debug, Default)]
pub(in super::super) struct Clocks(Mutex<HashMap<String, (Instant, f64)>>);

impl Clocks {
    /// Takes in an answer to a request that was sent at `sent` and answered at `answered`. A Date that no clock says is
    /// taken out of it: the SDK would add the difference to ours, and cannot sign a request of the year 10000.
    pub(in super::super) fn take(&self, host: &str, headers: &mut HeaderMap, sent: Timestamp, answered: Timestamp) {
        let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        if !date.is_some_and(|date| self.note(host, date, sent, answered)) {
            headers.remove(header::DATE);
        }
    }

    /// Takes in what a server took the time to be between `sent` and `answered`; whether a clock can say that.
    pub(in super::super) fn note(&self, host: &str, date: Timestamp, sent: Timestamp, answered: Timestamp) -> bool {
        let offset = offset(date, sent, answered);
        if offset.abs() > CLOCK_OFFSET_MAX.as_secs_f64() {
            return false;
        }
        let now = clock::timer();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CLOCK_HOSTS_MAX && !known.contains_key(host) {
            known.retain(|_, (at, _)| now.duration_since(*at) < CLOCK_AGE_MAX);
            if known.len() >= CLOCK_HOSTS_MAX {
                return true;
            }
        }
        known.insert(host.to_owned(), (now, offset));
        true
    }

    /// The largest offset of those that `is` names, in seconds; positive where the server's clock is ahead.
    pub(in super::super) fn offset(&self, is: impl Fn(&str) -> bool) -> Option<f64> {
        let now = clock::timer();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = known.iter().filter(|(_, (at, _))| now.duration_since(*at) < CLOCK_AGE_MAX);
        let offsets = recent.filter(|(host, _)| is(host)).map(|(_, (_, offset))| *offset);
        offsets.max_by(|one, other| one.abs().total_cmp(&other.abs()))
    }
}

/// How far the clock that said `date` is at least off: it was read between sending and answer, and its second was not
/// over. 0 where it may be right.
fn offset(date: Timestamp, sent: Timestamp, answered: Timestamp) -> f64 {
    let least = date.duration_since(answered).as_secs_f64();
    let most = date.duration_since(sent).as_secs_f64() + 1.0;
    if least > 0.0 { least } else { most.min(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_millisecond(784_111_777_000 + (seconds * 1000.0) as i64).unwrap()
    }

    /// 784 111 777 seconds after 1970, as RFC 9110 writes it.
    fn answer(date: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::DATE, date.parse().unwrap())])
    }

    #[test]
    fn a_date_is_as_exact_as_a_second_and_the_time_that_the_request_took() {
        for (sent, answered, expected) in [
            (0.0, 0.2, 0.0),
            (0.9, 1.1, 0.0),
            (-0.5, 30.0, 0.0),
            (-10.0, -9.5, 9.5),
            (301.0, 302.0, -300.0),
            (1.0, 1.5, 0.0),
        ] {
            let clocks = Clocks::default();
            clocks.take("a:80", &mut answer("Sun, 06 Nov 1994 08:49:37 GMT"), at(sent), at(answered));
            assert_eq!(clocks.offset(|_| true), Some(expected), "{sent} {answered}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_worst_of_several_servers_counts_until_it_is_old() {
        let clocks = Clocks::default();
        let mut date = answer("Sun, 06 Nov 1994 08:49:37 GMT");
        clocks.take("right:80", &mut date, at(0.0), at(0.0));
        clocks.take("behind:80", &mut date, at(60.0), at(60.0));
        assert!(date.contains_key(header::DATE));
        for odd in ["yesterday", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 1601 00:00:00 GMT"] {
            let mut odd = answer(odd);
            clocks.take("odd:80", &mut odd, at(0.0), at(0.0));
            assert!(odd.is_empty(), "{odd:?}");
        }
        assert_eq!(clocks.offset(|_| true), Some(-59.0));
        assert_eq!(clocks.offset(|host| host == "right:80"), Some(0.0));
        assert_eq!(clocks.offset(|host| host == "odd:80"), None);
        tokio::time::advance(CLOCK_AGE_MAX).await;
        assert_eq!(clocks.offset(|_| true), None);
    }

    #[test]
    fn servers_that_are_remembered_are_bounded() {
        let clocks = Clocks::default();
        let mut date = answer("Sun, 06 Nov 1994 08:49:37 GMT");
        for host in 0..CLOCK_HOSTS_MAX * 2 {
            clocks.take(&host.to_string(), &mut date, at(0.0), at(0.0));
        }
        assert_eq!(clocks.0.lock().unwrap().len(), CLOCK_HOSTS_MAX);
    }
}
