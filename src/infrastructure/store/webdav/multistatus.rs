//! What a PROPFIND is answered with (RFC 4918, 13): an XML document of bounded length, read token by token. Nothing of it
//! is expanded or fetched, and a document that is not well-formed to its end is not believed at all.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use xmlparser::{ElementEnd, Token, Tokenizer};

use crate::domain::limits::{LIST_PAGE_KEYS_MAX, XML_DEPTH_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::http::failure::by_status;
use crate::infrastructure::percent;
use crate::infrastructure::store::checked::{corrupt, printable};

/// A member of a collection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Collection,
    File(File),
}

/// What is known of a file; a server need not know everything.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(super) size: Option<u64>,
    /// By the server's clock, to the second.
    pub(super) modified: Option<Timestamp>,
}

/// The members of a collection by name, of its listing. `path` is that of the collection below the endpoint, without
/// escapes and outer slashes: a server behind a proxy may not know how its own paths begin.
pub(crate) fn members(document: &str, path: &str) -> Result<BTreeMap<String, Member>, Reason> {
    let entries = entries(document)?;
    let paths: Vec<Vec<String>> = entries.iter().map(|entry| components(&entry.href)).collect();
    let path: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    // The collection lists itself, not always first, and nothing in it has a shorter path.
    let is_own =
        |names: &&Vec<String>| names.iter().rev().zip(path.iter().rev()).filter(|(a, b)| a == b).count() == path.len();
    let own = paths.iter().filter(is_own).min_by_key(|names| names.len());
    let own = own.ok_or_else(|| corrupt("a listing without the collection itself".to_owned()))?;
    let mut members = BTreeMap::new();
    for (entry, names) in entries.iter().zip(&paths) {
        let refuse = |reason: Reason| reason.context(printable(&entry.href));
        match names.strip_prefix(own.as_slice()) {
            Some([]) => {
                entry.check().map_err(refuse)?;
                if !entry.collection {
                    return Err(Reason::new(ReasonKind::NotFound, "not a collection"));
                }
            }
            Some([name]) => match entry.check() {
                // Gone while the collection was listed.
                Err(reason) if reason.kind == ReasonKind::NotFound => {}
                checked => {
                    checked.map_err(refuse)?;
                    members.insert(name.clone(), entry.member());
                }
            },
            _ => return Err(refuse(corrupt("not in the collection that was listed".to_owned()))),
        }
    }
    Ok(members)
}

/// The names of a path, of an address that may be absolute.
fn components(href: &str) -> Vec<String> {
    let path = match href.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("", |slash| &rest[slash..]),
        _ => href,
    };
    let names = path.split('/').filter(|name| !name.is_empty());
    // A slash in a name stays escaped.
    let decoded = |name: &str| match String::from_utf8_lossy(&percent::decoded(name).0).into_owned() {
        decoded if decoded.contains('/') => name.to_owned(),
        decoded => decoded,
    };
    names.map(decoded).collect()
}

/// One response of the document.
#[derive(Debug, Default)]
struct Entry<'a> {
    href: Cow<'a, str>,
    /// Of all of it.
    status: Option<u16>,
    /// At least one group of properties is told.
    told: bool,
    collection: bool,
    size: Option<u64>,
    modified: Option<Timestamp>,
}

impl Entry<'_> {
    fn check(&self) -> Result<(), Reason> {
        match self.status {
            Some(status) if !(200..300).contains(&status) => Err(by_status(status)),
            _ if self.told => Ok(()),
            _ => Err(corrupt("a member without any properties".to_owned())),
        }
    }

    fn member(&self) -> Member {
        if self.collection {
            return Member::Collection;
        }
        Member::File(File { size: self.size, modified: self.modified })
    }
}

/// What has been read of a document.
#[derive(Default)]
struct Reader<'a> {
    /// The elements that are open: as written, for their ends, and without prefix.
    open: Vec<(&'a str, &'a str)>,
    text: Cow<'a, str>,
    entries: Vec<Entry<'a>>,
    /// Of the response that is open, and of its group of properties.
    entry: Entry<'a>,
    group: Entry<'a>,
}

fn entries(document: &str) -> Result<Vec<Entry<'_>>, Reason> {
    let mut reader = Reader::default();
    let mut whole = false;
    for token in Tokenizer::from(document) {
        let token = token.map_err(|error| malformed(&error.to_string()))?;
        match token {
            Token::ElementStart { prefix, local, .. } => {
                if reader.open.len() >= XML_DEPTH_MAX {
                    return Err(malformed("too many elements in one another"));
                }
                reader.open.push((prefix.as_str(), local.as_str()));
                reader.text = Cow::default();
            }
            Token::ElementEnd { end: ElementEnd::Close(prefix, local), .. } => {
                if reader.open.last() != Some(&(prefix.as_str(), local.as_str())) {
                    return Err(malformed("an end without its element"));
                }
                reader.end()?;
            }
            Token::ElementEnd { end: ElementEnd::Empty, .. } => reader.end()?,
            Token::Text { text } => reader.append(unescaped(text.as_str())?),
            Token::Cdata { text, .. } => reader.append(Cow::Borrowed(text.as_str())),
            Token::DtdStart { .. } | Token::EntityDeclaration { .. } => return Err(malformed("it declares entities")),
            _ => {}
        }
        whole = reader.open.is_empty();
    }
    if !whole {
        return Err(malformed("it has no end"));
    }
    Ok(reader.entries)
}

impl<'a> Reader<'a> {
    fn append(&mut self, text: Cow<'a, str>) {
        if self.text.is_empty() {
            self.text = text;
        } else {
            self.text.to_mut().push_str(&text);
        }
    }

    /// The innermost element ends.
    fn end(&mut self) -> Result<(), Reason> {
        let text = std::mem::take(&mut self.text);
        let path = self.open.iter().map(|(_, name)| *name);
        match path.collect::<Vec<_>>().as_slice() {
            ["multistatus", "response", "href"] => {
                self.entry.href = match text {
                    Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
                    Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
                };
            }
            ["multistatus", "response", "status"] => self.entry.status = Some(status(&text)?),
            ["multistatus", "response", "propstat", "status"] => self.group.status = Some(status(&text)?),
            ["multistatus", "response", "propstat", "prop", property @ ..] => match property {
                ["resourcetype", "collection"] => self.group.collection = true,
                ["getcontentlength"] => self.group.size = text.trim().parse().ok(),
                ["getlastmodified"] => self.group.modified = DateTimeParser::new().parse_timestamp(text.trim()).ok(),
                _ => {}
            },
            ["multistatus", "response", "propstat"] => {
                let group = std::mem::take(&mut self.group);
                if group.status.is_some_and(|status| (200..300).contains(&status)) {
                    self.entry.told = true;
                    self.entry.collection |= group.collection;
                    self.entry.size = group.size.or(self.entry.size);
                    self.entry.modified = group.modified.or(self.entry.modified);
                }
            }
            ["multistatus", "response"] => {
                if self.entries.len() > LIST_PAGE_KEYS_MAX {
                    return Err(corrupt(format!("a listing of more than {LIST_PAGE_KEYS_MAX} members")));
                }
                self.entries.push(std::mem::take(&mut self.entry));
            }
            [root] if *root != "multistatus" => return Err(malformed("it is no multistatus")),
            _ => {}
        }
        self.open.pop();
        Ok(())
    }
}

/// `HTTP/1.1 200 OK`
fn status(text: &str) -> Result<u16, Reason> {
    let status = text.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| malformed("a status that is none"))
}

/// Resolves the entities that XML itself has.
fn unescaped(text: &str) -> Result<Cow<'_, str>, Reason> {
    if !text.contains('&') {
        return Ok(Cow::Borrowed(text));
    }
    let mut pieces = text.split('&');
    let mut resolved = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let character = |name: &str| match name {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            name => {
                let digits = name.strip_prefix('#')?;
                let code = match digits.strip_prefix('x') {
                    Some(digits) => u32::from_str_radix(digits, 16),
                    None => digits.parse(),
                };
                char::from_u32(code.ok()?)
            }
        };
        let (name, rest) = piece.split_once(';').ok_or_else(|| malformed("an entity without end"))?;
        resolved.push(character(name).ok_or_else(|| malformed("an entity that XML does not have"))?);
        resolved.push_str(rest);
    }
    Ok(Cow::Owned(resolved))
}

fn malformed(why: &str) -> Reason {
    corrupt(format!("a listing that cannot be read: {why}")).with_hint("check that webdav-url leads to a WebDAV server")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: &str = "<?xml version=\"1.0\"?><!-- a > b --><D:multistatus xmlns:D=\"DAV:\" \
                         xmlns:ns0='DAV:'><D:response \
                         xmlns:lp1=\"DAV:\"><D:href>http://h:80/dav/app/ltx/0/</D:href><D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype></D:prop><D:status>HTTP/1.1 \
                         200 \
                         OK</D:status></D:propstat><D:propstat><D:prop><getcontentlength/></D:prop><D:status>HTTP/1.1 \
                         404 Not \
                         Found</D:status></D:propstat></D:response><response><href><![CDATA[/dav/app/ltx/0/gone]]></href><status>HTTP/1.1 \
                         404 Gone</status></response></D:multistatus>";

    fn entry(href: &str, props: &str) -> String {
        format!(
            "<a:response><a:href>{href}</a:href><a:propstat><a:prop>{props}</a:prop><a:status>HTTP/1.1 200 OK</a:status>\
             </a:propstat></a:response>"
        )
    }

    fn document(entries: &[String]) -> String {
        format!("<a:multistatus xmlns:a=\"DAV:\">{}</a:multistatus>", entries.concat())
    }

    const COLLECTION: &str = "<a:resourcetype><a:collection/></a:resourcetype>";
    const FILE: &str = "<a:resourcetype/><a:getcontentlength>7</a:getcontentlength>\
                        <a:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</a:getlastmodified>";

    fn told(document: &str) -> String {
        match members(document, "app/ltx/0") {
            Ok(members) => members.into_keys().collect::<Vec<_>>().join(" | "),
            Err(reason) => format!("{}: {}", reason.kind.as_str(), reason.message),
        }
    }

    #[test]
    fn members_are_known_by_their_names_however_the_server_writes_paths() {
        let file = File { size: Some(7), modified: Timestamp::from_second(784_111_777).ok() };
        for (own, before) in [
            ("/app/ltx/0/", "/app/ltx/0/"),
            ("/app/ltx/0", "/app/ltx/0/"),
            ("http://127.0.0.1:80/dav/app/ltx/0/", "http://127.0.0.1:80/dav/app/ltx/0/"),
            ("/behind/a/proxy/app/ltx/0/", "/behind/a/proxy/app/ltx/0/"),
            ("//app//ltx/0//", "/app/ltx/0/"),
            ("/%61pp/ltx/0/", "/app/lt%78/0/"),
        ] {
            // Ascending whatever the order, and the collection itself somewhere among them.
            let entries = [
                entry(&format!("{before}b"), FILE),
                entry(own, COLLECTION),
                entry(&format!("{before}a%20b%2520&amp;%C3%A4&#x41;"), FILE),
                entry(&format!("{before}0/"), COLLECTION),
            ];
            let found = members(&document(&entries), "app/ltx/0").unwrap();
            assert_eq!(found.keys().collect::<Vec<_>>(), ["0", "a b%20&äA", "b"], "{own}");
            assert_eq!((&found["0"], &found["b"]), (&Member::Collection, &Member::File(File { ..file })));
        }
        // The replica is all of the server, and has a folder that is called as the one above it.
        let entries = [entry("/x/x/", COLLECTION), entry("/x/", COLLECTION)];
        assert_eq!(members(&document(&entries), "").unwrap().into_keys().collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn what_contradicts_itself_is_corrupt_and_what_went_away_is_left_out() {
        let own = entry("/app/ltx/0/", COLLECTION);
        let failed =
            |status: u16| format!("<response><href>/app/ltx/0/b</href><status>HTTP/1.1 {status} X</status></response>");
        let with = |other: String| document(&[own.clone(), other]);
        for (document, expected) in [
            (document(&[]), "corrupt: a listing without the collection itself"),
            (document(&[entry("/app/ltx/1/", COLLECTION)]), "corrupt: a listing without the collection itself"),
            (document(&[entry("/app/ltx/0/", FILE)]), "not_found: not a collection"),
            (with(entry("/app/ltx/00", FILE)), "corrupt: /app/ltx/00: not in the collection that was listed"),
            (with(entry("/app/ltx/0/a/b", FILE)), "corrupt: /app/ltx/0/a/b: not in the collection that was listed"),
            (with(entry("/app/ltx/0/../x", FILE)), "corrupt: /app/ltx/0/../x: not in the collection that was listed"),
            (with(entry("/app/ltx/0/a%2Fb", FILE)), "a%2Fb"),
            (with(entry("/app/ltx/0/%ff%zz%0a", FILE)), "\u{fffd}%zz\n"),
            (with(failed(404)), ""),
            (with(failed(403)), "denied: /app/ltx/0/b: access denied"),
            (with(failed(507)), "failed: /app/ltx/0/b: status 507"),
            (
                with(entry("/app/ltx/0/b", FILE).replace("200 OK", "404 X")),
                "corrupt: /app/ltx/0/b: a member without any properties",
            ),
        ] {
            assert_eq!(told(&document), expected, "{document}");
        }
        let unknown = members(&with(entry("/app/ltx/0/b", "<a:getcontentlength>-1</a:getcontentlength>")), "app/ltx/0");
        assert_eq!(unknown.unwrap()["b"], Member::File(File { size: None, modified: None }));
    }

    #[test]
    fn documents_that_are_not_well_formed_are_not_believed() {
        let deep = format!("<multistatus>{}", "<a>".repeat(1_000_000));
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><multistatus>&b;</multistatus>";
        let good = document(&[entry("/app/ltx/0/", COLLECTION)]);
        assert_eq!(told(&good), "");
        for bad in [
            "",
            "x",
            "<a/>",
            "<a></a>",
            "<multistatus>",
            "<multistatus></multistatu>",
            "<multistatus><a></multistatus></a>",
            "<multistatus>&b;</multistatus>",
            "<multistatus>&#xffffffff;</multistatus>",
            "<multistatus>&lt</multistatus>",
            bomb,
            &deep,
            &format!("{good}<x/>"),
            &good.replace("200", "fine"),
            &good.replace("</a:prop>", "</a:prop><"),
        ] {
            let told = told(bad);
            assert!(told.starts_with("corrupt: a listing "), "{}: {told}", &bad[..bad.len().min(100)]);
        }
        for end in WHOLE.find("<D:m").unwrap() + 1..WHOLE.len() {
            assert!(told(&WHOLE[..end]).starts_with("corrupt: "), "{end}");
        }
        assert_eq!(told(WHOLE), "");
    }

    proptest! {
        #[test]
        fn nothing_that_a_server_says_is_too_much(at in 0..WHOLE.len(), cut in 0..WHOLE.len(), put in "[<>/&;'\"! a-zä-ÿ\\PC]{0,9}") {
            let (at, cut) = (at.min(cut), at.max(cut));
            let _ = members(&format!("{}{put}{}", &WHOLE[..at], &WHOLE[cut..]), "app/ltx/0");
        }
    }
}
