//! Which format and which encoding a client wants, from the q-values of its headers (RFC 9110, section 12.5).

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};

/// Whether to answer in OpenMetrics 1.0 rather than in text 0.0.4.
///
/// A client gets OpenMetrics when it names it and wants it at least as much as text 0.0.4. A wildcard is no wish for
/// OpenMetrics: curl and whatever knows only the older format send one.
pub(super) fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers, &ACCEPT);
    let best = |matches: &dyn Fn(&Range) -> bool| {
        ranges.iter().filter(|range| matches(range)).map(|range| range.quality).max()
    };
    let openmetrics = best(&|range| {
        range.name == "application/openmetrics-text"
            && range.version.as_deref().is_none_or(|version| version == "1.0.0")
    });
    let text =
        best(&|range| range.name == "text/plain" && range.version.as_deref().is_none_or(|version| version == "0.0.4"))
            .or_else(|| best(&|range| range.name == "text/*"))
            .or_else(|| best(&|range| range.name == "*/*"));
    openmetrics.is_some_and(|openmetrics| openmetrics > 0 && openmetrics >= text.unwrap_or(0))
}

/// Whether to compress the answer.
pub(super) fn wants_gzip(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers, &ACCEPT_ENCODING);
    let quality = |name: &str| ranges.iter().find(|range| range.name == name).map(|range| range.quality);
    let gzip = quality("gzip").or_else(|| quality("x-gzip")).or_else(|| quality("*")).unwrap_or(0);
    gzip > 0 && gzip >= quality("identity").unwrap_or(0)
}

/// One element of a header: `text/plain;version=0.0.4;q=0.5`.
struct Range {
    name: String,
    version: Option<String>,
    /// In thousandths, 0 to 1000.
    quality: u16,
}

/// The elements of a header; one that cannot be parsed is left out, as if it had not been sent.
fn ranges(headers: &HeaderMap, name: &HeaderName) -> Vec<Range> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(range).collect()
}

fn range(element: &str) -> Option<Range> {
    let mut parts = element.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let mut range = Range { name, version: None, quality: 1000 };
    for part in parts {
        let Some((key, value)) = part.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        if key.trim().eq_ignore_ascii_case("q") {
            let quality: f32 = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
            range.quality = (quality * 1000.0).round() as u16;
        } else if key.trim().eq_ignore_ascii_case("version") {
            range.version = Some(value.to_owned());
        }
    }
    Some(range)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("header value"))])
    }

    #[test]
    fn every_client_that_prefers_text_gets_it() {
        let cases = [
            // Prometheus 2.42, with and without native histograms.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                 application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            // Prometheus 2.53.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
            // Prometheus 3.5.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
            // Prometheus with scrape_protocols: [PrometheusText0.0.4], then with both, text first.
            ("text/plain;version=0.0.4;q=0.6,*/*;q=0.5", false),
            ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.4", false),
            // curl, VictoriaMetrics, Telegraf.
            ("*/*", false),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", false),
            ("application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", false),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            // Odd ones.
            ("", false),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text, */*", true),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=0, */*;q=0", false),
            ("application/openmetrics-text;q=0.5, text/*", false),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.5", true),
            ("application/openmetrics-text;q=2", false),
            ("application/openmetrics-text;q=NaN", false),
            (",;,=;q=,;;", false),
        ];
        for (accept, expected) in cases {
            assert_eq!(wants_openmetrics(&headers(ACCEPT, accept)), expected, "{accept}");
        }
        assert!(!wants_openmetrics(&HeaderMap::new()));
    }

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        let cases = [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("GZIP;q=0.5", true),
            ("x-gzip", true),
            ("*", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("identity;q=1, gzip;q=0.5", false),
            ("br", false),
            ("", false),
        ];
        for (accept, expected) in cases {
            assert_eq!(wants_gzip(&headers(ACCEPT_ENCODING, accept)), expected, "{accept}");
        }
        assert!(!wants_gzip(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn any_header_has_an_answer(value in "[ -~]*") {
            wants_openmetrics(&headers(ACCEPT, &value));
            wants_gzip(&headers(ACCEPT_ENCODING, &value));
        }
    }
}
