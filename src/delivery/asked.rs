//! What a request asks for beyond its route, and the answer when that cannot be given.

use http::StatusCode;

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
    fn whatever_is_sent_is_taken_apart() {
        for query in ["%", "%zz=%", "&&&", "=", "a", "\u{0}=\u{1}", "%ff%fe=%ff"] {
            let _ = Asked::new("", query).get("a");
        }
    }
}
