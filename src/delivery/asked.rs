//! What a request asks for beyond its route, what is made for it, and the answer when that cannot be done.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

/// The name in the path of a request, and its parameters.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What stands for the placeholder of the route; empty where it has none.
    pub name: String,
    parameters: Vec<(String, String)>,
}

impl Asked {
    /// Takes both apart. Where a parameter stands twice, the last one counts, as in a form that was changed by hand.
    pub fn new(name: &str, query: &str) -> Self {
        let parameters = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { name: name.to_owned(), parameters }
    }

    /// The value of a parameter; one that is empty is not there.
    pub fn get(&self, name: &str) -> Option<&str> {
        let values = self.parameters.iter().rev().filter(|(key, _)| key == name);
        values.map(|(_, value)| value.as_str()).find(|value| !value.is_empty())
    }

    /// The value of a parameter as something that is written in one way.
    ///
    /// # Errors
    ///
    /// When it is written in another; `expected` says how, as in "a number".
    pub fn parsed<T: std::str::FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let parsed = value.parse().map_err(|_| Problem::invalid(name, &format!("{value:?} is not {expected}")))?;
        Ok(Some(parsed))
    }

    /// The value of a parameter as an instant: RFC 3339, or seconds since 1970, as the API of Prometheus takes them.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn instant(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let seconds = || SignedDuration::try_from_secs_f64(value.parse().ok()?).ok();
        let found = value.parse().ok().or_else(|| Timestamp::from_duration(seconds()?).ok());
        // A + that is sent as it is arrives as a space.
        let wrong = || Problem {
            hint: Some("write 2026-01-01T00:00:00Z, 2026-01-01T01:00:00%2B01:00 or 1767225600".into()),
            ..Problem::invalid(name, &format!("{value:?} is neither RFC 3339 nor Unix seconds"))
        };
        found.map(Some).ok_or_else(wrong)
    }

    /// A relative reference to the same path with the same parameters but for this one, which may be left out.
    pub fn with(&self, name: &str, value: Option<&str>) -> String {
        let others = self.parameters.iter().filter(|(key, _)| key != name).map(|(key, value)| (&**key, &**value));
        let all = others.chain(value.map(|value| (name, value)));
        form_urlencoded::Serializer::for_suffix("?".to_owned(), 1).extend_pairs(all).finish()
    }

    /// The value of a parameter that is one of a few.
    ///
    /// # Errors
    ///
    /// When it is none of them.
    pub fn one_of<T: Copy>(&self, name: &str, known: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let found = known.iter().find(|(word, _)| *word == value).map(|(_, found)| *found);
        let words = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| Problem::invalid(name, &format!("{value:?} is none of {}", words())))
    }

    /// Refuses parameters that are not among `known`: a misspelt filter would silently show everything.
    ///
    /// # Errors
    ///
    /// Names the parameter, and those that there are.
    pub fn refuse_others(&self, known: &[&str]) -> Result<(), Problem> {
        let Some((name, _)) = self.parameters.iter().find(|(name, _)| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        let hint = if known.is_empty() { "there are none".into() } else { format!("there are {}", known.join(", ")) };
        Err(Problem {
            hint: Some(hint),
            ..Problem::new(StatusCode::BAD_REQUEST, format!("unknown parameter {name:?}"))
        })
    }
}

/// What was made of a report for one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    pub body: Vec<u8>,
    /// Where the parts before and behind it are, as the header `Link` has it (RFC 8288).
    pub link: Option<String>,
}

impl From<Vec<u8>> for Made {
    fn from(body: Vec<u8>) -> Self {
        Self { body, link: None }
    }
}

/// Why there is no answer, for a person or as RFC 9457 has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    pub detail: String,
    /// What would help.
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), hint: None }
    }

    /// There is nothing of this name; `kind` says what it would be, as in "database".
    pub fn not_found(kind: &str, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {kind} {name:?}"))
    }

    /// A parameter without which there is no answer.
    pub fn missing(parameter: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("parameter {parameter:?} is missing"))
    }

    /// A parameter whose value is not understood.
    pub fn invalid(parameter: &str, why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("parameter {parameter:?}: {why}"))
    }

    /// The status in words.
    pub fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("error")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_those_that_are_wrong_are_named() {
        let asked = Asked::new("a b", "q=a%2Fb+c&page=2&state=&page=x");
        assert_eq!((asked.get("q"), asked.get("state"), asked.get("nothing")), (Some("a/b c"), None, None));
        let problem = asked.parsed::<usize>("page", "a number").expect_err("refused");
        assert_eq!(problem.detail, "parameter \"page\": \"x\" is not a number");
        let words = [("asc", 1), ("desc", 2)];
        assert_eq!(Asked::new("", "order=desc").one_of("order", &words), Ok(Some(2)));
        let problem = asked.one_of("q", &words).expect_err("refused");
        assert_eq!(problem.detail, "parameter \"q\": \"a/b c\" is none of asc, desc");
        assert_eq!(asked.refuse_others(&["q", "page", "state"]), Ok(()));
        let problem = asked.refuse_others(&["q", "page"]).expect_err("refused");
        assert_eq!(
            (problem.detail.as_str(), problem.hint.as_deref()),
            ("unknown parameter \"state\"", Some("there are q, page"))
        );
    }

    #[test]
    fn instants_are_read_as_prometheus_reads_them() {
        let read = |value: &str| Asked::new("", &format!("from={value}")).instant("from");
        let instant = |text: &str| Ok(Some(text.parse::<Timestamp>().expect("an instant")));
        for (value, expected) in [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-01T01:00:00%2B01:00", "2026-01-01T00:00:00Z"),
            ("1767225600", "2026-01-01T00:00:00Z"),
            ("1767225600.25", "2026-01-01T00:00:00.25Z"),
            ("1.7672256e9", "2026-01-01T00:00:00Z"),
            ("-1", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(read(value), instant(expected), "{value}");
        }
        assert_eq!(read(""), Ok(None));
        let long = "9".repeat(10_000);
        for value in
            ["x", "now", "NaN", "inf", "-inf", "1e300", "2026-01-01", "2026-13-01T00:00:00Z", "%00", "1 2", &long]
        {
            let problem = read(value).expect_err(value);
            assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{value}");
            assert!(problem.detail.ends_with(" is neither RFC 3339 nor Unix seconds"), "{}", problem.detail);
        }
        let plus = read("2026-01-01T01:00:00+01:00").expect_err("a + is a space");
        assert!(plus.hint.is_some_and(|hint| hint.contains("%2B")));
    }

    #[test]
    fn a_reference_to_another_part_has_the_other_parameters() {
        let asked = Asked::new("", "q=a%26b&after=x&limit=1&after=y");
        assert_eq!(asked.with("after", Some("\u{e9}>/ \"")), "?q=a%26b&limit=1&after=%C3%A9%3E%2F+%22");
        assert_eq!(asked.with("after", None), "?q=a%26b&limit=1");
        assert_eq!(Asked::new("", "").with("after", None), "?");
    }

    #[test]
    fn whatever_is_sent_is_taken_apart() {
        for query in ["%", "%zz=%", "&&&", "=", "a", "\u{0}=\u{1}", "%ff%fe=%ff"] {
            let _ = Asked::new("", query).get("a");
        }
    }
}
