//! How a server asks who is there, and the answer: Basic (RFC 7617) or Digest (RFC 7616), as Litestream has them.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use aws_smithy_types::base64;
use md5::{Digest as _, Md5};

use crate::infrastructure::hex::hex;

/// What a server asked for, the strongest that is known of it.
#[derive(Debug)]
pub(super) enum Challenge {
    Basic,
    Digest(Digest),
}

#[derive(Debug, Default)]
pub(super) struct Digest {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// As the server writes it; absent: MD5.
    algorithm: Option<String>,
    /// The server counts how often the nonce is used (`qop=auth`).
    counted: bool,
    count: AtomicU32,
    /// The nonce of the request before was too old, and all else was well.
    stale: bool,
}

impl Challenge {
    /// Of the values of `WWW-Authenticate`; `None`: nothing that can be answered.
    pub(super) fn of<'a>(asked: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut schemes: Vec<(String, Vec<(String, String)>)> = Vec::new();
        for part in asked.flat_map(parts) {
            let name = part.split('=').next().unwrap_or_default().trim_end();
            let parameter = match name.split_once(' ') {
                Some((scheme, _)) => {
                    schemes.push((scheme.to_ascii_lowercase(), Vec::new()));
                    &part[scheme.len()..]
                }
                None if part.contains('=') => part,
                None => {
                    schemes.push((part.to_ascii_lowercase(), Vec::new()));
                    continue;
                }
            };
            if let (Some((_, parameters)), Some((name, value))) = (schemes.last_mut(), parameter.split_once('=')) {
                parameters.push((name.trim().to_ascii_lowercase(), unquoted(value.trim())));
            }
        }
        let digest = schemes.iter().filter(|(scheme, _)| scheme == "digest").find_map(|(_, found)| Digest::of(found));
        let basic = || schemes.iter().any(|(scheme, _)| scheme == "basic").then_some(Self::Basic);
        digest.map(Self::Digest).or_else(basic)
    }

    /// Worth another request, although the server refused the answer to one like it: only the nonce was too old.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Digest(digest) if digest.stale)
    }

    /// The value of `Authorization`.
    pub(super) fn answer(&self, user: &str, password: &str, method: &str, target: &str) -> String {
        match self {
            Self::Basic => format!("Basic {}", base64::encode(format!("{user}:{password}"))),
            Self::Digest(digest) => {
                // The standard library seeds its hashers from the system's random numbers.
                let own = format!("{:016x}", std::hash::RandomState::new().build_hasher().finish());
                let count = digest.count.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                digest.answer(user, password, method, target, (count, &own))
            }
        }
    }
}

impl Digest {
    fn of(parameters: &[(String, String)]) -> Option<Self> {
        let get = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let qop = get("qop");
        let offered = |qop: &String| qop.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth"));
        let new = Self {
            realm: get("realm").unwrap_or_default(),
            nonce: get("nonce")?,
            opaque: get("opaque"),
            algorithm: get("algorithm"),
            counted: qop.as_ref().is_some_and(offered),
            count: AtomicU32::new(0),
            stale: get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        };
        (new.hash("").is_some() && (qop.is_none() || new.counted)).then_some(new)
    }

    /// In hexadecimal; `None`: an algorithm that is not known.
    fn hash(&self, text: &str) -> Option<String> {
        match self.algorithm.as_deref().unwrap_or("MD5") {
            name if name.eq_ignore_ascii_case("MD5") => Some(hex(&Md5::digest(text))),
            name if name.eq_ignore_ascii_case("SHA-256") => Some(hex(digest(&SHA256, text.as_bytes()).as_ref())),
            _ => None,
        }
    }

    fn answer(&self, user: &str, password: &str, method: &str, target: &str, (count, own): (u32, &str)) -> String {
        let hash = |text: String| self.hash(&text).unwrap_or_default();
        let Self { realm, nonce, .. } = self;
        let who = hash(format!("{user}:{realm}:{password}"));
        let what = hash(format!("{method}:{target}"));
        let mut answer = format!(
            "Digest username={}, realm={}, nonce={}, uri={}",
            quoted(user),
            quoted(realm),
            quoted(nonce),
            quoted(target)
        );
        if self.counted {
            let response = hash(format!("{who}:{nonce}:{count:08x}:{own}:auth:{what}"));
            answer.push_str(&format!(", qop=auth, nc={count:08x}, cnonce=\"{own}\", response=\"{response}\""));
        } else {
            let response = hash(format!("{who}:{nonce}:{what}"));
            answer.push_str(&format!(", response=\"{response}\""));
        }
        if let Some(algorithm) = &self.algorithm {
            answer.push_str(&format!(", algorithm={algorithm}"));
        }
        if let Some(opaque) = &self.opaque {
            answer.push_str(&format!(", opaque={}", quoted(opaque)));
        }
        answer
    }
}

/// The parts between commas that are not in quotes.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut escaped) = (false, false);
    let split = move |character: char| {
        in_quotes ^= character == '"' && !escaped;
        escaped = in_quotes && !escaped && character == '\\';
        character == ',' && !in_quotes
    };
    text.split(split).map(str::trim).filter(|part| !part.is_empty())
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    let (mut text, mut escaped) = (String::with_capacity(inner.len()), false);
    for character in inner.chars() {
        escaped = !escaped && character == '\\';
        if !escaped {
            text.push(character);
        }
    }
    text
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(asked: &[&str]) -> Option<Challenge> {
        Challenge::of(asked.iter().copied())
    }

    #[test]
    fn the_strongest_that_is_known_is_answered() {
        let is = |asked: &[&str]| match challenge(asked) {
            None => "nothing".to_owned(),
            Some(Challenge::Basic) => "basic".to_owned(),
            Some(Challenge::Digest(digest)) => format!("{} {} {}", digest.realm, digest.nonce, digest.counted),
        };
        for (asked, expected) in [
            (&["Basic realm=\"a, Digest nonce=x\""][..], "basic"),
            (
                &["Basic realm=\"a\", Digest realm=\"b \\\"c\\\"\", nonce=\"n=,\", qop=\"auth-int,auth\""],
                "b \"c\" n=, true",
            ),
            (&["Negotiate", "basic"], "basic"),
            (&["Digest realm=b, nonce=n, algorithm=SHA-512-256", "Basic realm=\"a\""], "basic"),
            (&["Digest realm=\"b\", nonce=\"n\", qop=\"auth-int\""], "nothing"),
            (&["Digest realm=b, nonce=n, algorithm=md5"], "b n false"),
            (&["Negotiate, Bearer realm=\"x\"", "", ",", "="], "nothing"),
        ] {
            assert_eq!(is(asked), expected, "{asked:?}");
        }
    }

    /// The examples of RFC 7616, 3.9.1, and RFC 2069 as RFC 2617 corrects it.
    #[test]
    fn digests_are_those_of_the_standard() {
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let asked = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let Some(Challenge::Digest(digest)) = challenge(&[&asked]) else { panic!("{asked}") };
            let own = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let answer = digest.answer("Mufasa", "Circle of Life", "GET", "/dir/index.html", (1, own));
            assert!(answer.contains(&format!("response=\"{expected}\"")), "{answer}");
            assert!(answer.contains("opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""), "{answer}");
        }
    }
}
