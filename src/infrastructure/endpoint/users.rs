//! `basic_auth_users`: who knows a password. Comparing one takes a good part of a second of one core by design, so that
//! few are compared at once, few of one address and of all wait, and one that was right is not compared again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use aws_smithy_types::base64;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::sync::Semaphore;

use crate::domain::limits::{
    PASSWORDS_COMPARED_MAX, PASSWORDS_KNOWN_MAX, PASSWORDS_WAITING_ALL_MAX, PASSWORDS_WAITING_MAX,
};
use crate::infrastructure::blocking::blocking;

/// Names with the bcrypt hashes of their passwords. None at all: everybody is let in.
#[derive(Debug)]
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// The one that takes longest to compare, with its cost.
    dearest: Option<(u32, String)>,
    /// Digests of names with passwords that were right.
    known: Mutex<HashSet<[u8; 32]>>,
    comparing: Arc<Semaphore>,
    /// How many wait, by address.
    waiting: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// What came of a name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// There are no users, and everybody is let in.
    Anybody,
    Known,
    Unknown,
    /// Others are waiting already, of the same address or in all.
    Busy,
}

impl Default for Users {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Self {
        let comparing = Arc::new(Semaphore::new(PASSWORDS_COMPARED_MAX));
        let dearest = hashes.values().map(|hash| (cost(hash), hash.clone())).max();
        Self { hashes, dearest, known: Mutex::default(), comparing, waiting: Arc::default() }
    }

    /// Whether whoever sent these headers is one of the users.
    pub(super) async fn login(&self, from: IpAddr, headers: &HeaderMap) -> Login {
        let Some((most, dearest)) = &self.dearest else { return Login::Anybody };
        let Some((user, password)) = credentials(headers) else { return Login::Unknown };
        let own = self.hashes.get(&user);
        // For a name that is not there another hash is compared, or the time that it takes would tell.
        let (hash, most) = (own.unwrap_or(dearest).clone(), *most);
        let digest = digest([user.as_bytes(), &password, hash.as_bytes()]);
        if self.lock(&self.known).contains(&digest) {
            return Login::Known;
        }
        let Some(place) = Place::take(&self.waiting, from) else { return Login::Busy };
        // Nobody closes it.
        let Ok(turn) = Arc::clone(&self.comparing).acquire_owned().await else { return Login::Busy };
        let compare = move || {
            // The work goes on when the client has gone, and so does what it takes up.
            let _taken = (place, turn);
            let is_right = bcrypt::verify(&password, &hash).unwrap_or(false);
            if !is_right {
                spend(&password, cost(&hash)..most);
            }
            Ok(is_right)
        };
        let is_right = blocking(compare).await;
        if own.is_none() || is_right != Ok(true) {
            return Login::Unknown;
        }
        let mut known = self.lock(&self.known);
        if known.len() >= PASSWORDS_KNOWN_MAX {
            known.clear();
        }
        known.insert(digest);
        Login::Known
    }

    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(hash: &str) -> u32 {
    hash.parse::<bcrypt::HashParts>().map_or(0, |parts| parts.get_cost())
}

/// Takes as long as it would take more to fail at a hash of the cost behind the last: each costs as much as all before it
/// together and the first once more. Otherwise a name with a cheap hash would tell that it is there.
fn spend(password: &[u8], costs: std::ops::Range<u32>) {
    for cost in costs {
        // Nobody is let in by it.
        let _ = bcrypt::hash(password, cost);
    }
}

/// One of the few of an address that wait.
struct Place {
    waiting: Arc<Mutex<HashMap<IpAddr, usize>>>,
    from: IpAddr,
}

impl Place {
    fn take(waiting: &Arc<Mutex<HashMap<IpAddr, usize>>>, from: IpAddr) -> Option<Self> {
        let mut all = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if all.values().sum::<usize>() >= PASSWORDS_WAITING_ALL_MAX {
            return None;
        }
        let own = all.entry(from).or_default();
        if *own >= PASSWORDS_WAITING_MAX {
            return None;
        }
        *own += 1;
        Some(Self { waiting: Arc::clone(waiting), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get_mut(&self.from) {
            *own -= 1;
            if *own == 0 {
                all.remove(&self.from);
            }
        }
    }
}

/// Name and password of RFC 7617.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let pair = base64::decode(encoded).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some((String::from_utf8(pair[..colon].to_vec()).ok()?, pair[colon + 1..].to_vec()))
}

/// A header from any bytes.
pub(super) fn fuzz(bytes: &[u8]) {
    if let Ok(value) = http::HeaderValue::from_bytes(bytes) {
        credentials(&[(AUTHORIZATION, value)].into_iter().collect());
    }
}

/// Of the parts with their lengths, so that no two ways to divide the same bytes are one.
fn digest(parts: [&[u8]; 3]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn users() -> Users {
        let hash = |password: &str| bcrypt::hash(password, 4).expect("a hash");
        Users::new(
            [("alice", "alice123"), ("bob", "bob:123")]
                .map(|(user, password)| (user.to_owned(), hash(password)))
                .into(),
        )
    }

    fn headers(pair: &str) -> HeaderMap {
        [(AUTHORIZATION, format!("Basic {}", base64::encode(pair)).parse().expect("a header"))].into_iter().collect()
    }

    #[tokio::test]
    async fn whoever_knows_a_password_is_let_in_each_time_and_nobody_else() {
        let users = users();
        // Twice: a password that was right is remembered, and one that was wrong is not.
        for _ in 0..2 {
            for (pair, expected) in [
                ("alice:alice123", Login::Known),
                ("bob:bob:123", Login::Known),
                ("alice:", Login::Unknown),
                ("alice:alice1234", Login::Unknown),
                ("alice:bob:123", Login::Unknown),
                ("alicealice123", Login::Unknown),
                (":alice123", Login::Unknown),
                ("", Login::Unknown),
                // Whose hash is compared in place of one that is not there.
                ("nobody:alice123", Login::Unknown),
                ("alice:alice123\0", Login::Unknown),
            ] {
                assert_eq!(users.login(HERE, &headers(pair)).await, expected, "{pair}");
            }
        }
        assert_eq!(users.known.lock().expect("known").len(), 2, "only what was right is remembered");
        assert_eq!(users.login(HERE, &HeaderMap::new()).await, Login::Unknown);
        for odd in ["Basic", "Basic !!!", "Bearer YWxpY2U6YWxpY2UxMjM=", "YWxpY2U6YWxpY2UxMjM="] {
            let headers = [(AUTHORIZATION, odd.parse().expect("a header"))].into_iter().collect();
            assert_eq!(users.login(HERE, &headers).await, Login::Unknown, "{odd}");
        }
        assert_eq!(Users::default().login(HERE, &HeaderMap::new()).await, Login::Anybody, "there is nobody to be");
    }

    #[test]
    fn two_ways_to_divide_the_same_bytes_are_two() {
        assert_ne!(digest([b"ab", b"c", b"h"]), digest([b"a", b"bc", b"h"]));
    }

    #[tokio::test]
    async fn who_hangs_up_keeps_what_the_comparison_takes_up_until_it_ends() {
        let hash = bcrypt::hash("alice123", 10).expect("a hash");
        let users = Users::new([("alice".to_owned(), hash)].into());
        let headers = headers("alice:wrong");
        let login = tokio::time::timeout(std::time::Duration::from_millis(1), users.login(HERE, &headers));
        assert!(login.await.is_err(), "comparing takes longer");
        let held = || (users.comparing.available_permits(), users.waiting.lock().expect("waiting").len());
        assert_eq!(held(), (PASSWORDS_COMPARED_MAX - 1, 1));
        while held() != (PASSWORDS_COMPARED_MAX, 0) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn failing_takes_as_long_for_any_name_as_for_the_dearest() {
        let hashes = [("cheap", 4), ("dear", 9)].map(|(user, cost)| (user, bcrypt::hash("right", cost)));
        let users = Users::new(hashes.map(|(user, hash)| (user.to_owned(), hash.expect("a hash"))).into());
        let took = async |user: &str| {
            let headers = headers(&format!("{user}:wrong"));
            let mut least = std::time::Duration::MAX;
            for _ in 0..5 {
                let begun = std::time::Instant::now();
                assert_eq!(users.login(HERE, &headers).await, Login::Unknown);
                least = least.min(begun.elapsed());
            }
            least.as_secs_f64()
        };
        let (cheap, dear, nobody) = (took("cheap").await, took("dear").await, took("nobody").await);
        // Without it, they are 32 times apart.
        for (one, other) in [(cheap, dear), (nobody, dear), (cheap, nobody)] {
            assert!((0.5..2.0).contains(&(one / other)), "{cheap} {dear} {nobody}");
        }
    }

    #[tokio::test]
    async fn many_at_once_agree_and_a_flood_of_one_address_keeps_nobody_else_waiting() {
        let users = Arc::new(users());
        assert_eq!(users.login(HERE, &headers("alice:alice123")).await, Login::Known);
        let logins = (0..300).map(|number| {
            let (users, right) = (Arc::clone(&users), number % 2 == 0);
            tokio::spawn(async move {
                let pair = if right { "alice:alice123" } else { "alice:wrong" };
                (right, users.login(HERE, &headers(pair)).await)
            })
        });
        let logins: Vec<_> = logins.collect();
        for login in logins {
            let (right, login) = login.await.expect("joined");
            assert_eq!(right, login == Login::Known, "{login:?}");
        }
        let places: Vec<_> =
            (0..PASSWORDS_WAITING_MAX).map(|_| Place::take(&users.waiting, HERE).expect("a place")).collect();
        assert_eq!(users.login(HERE, &headers("bob:bob:123")).await, Login::Busy);
        assert_eq!(users.login(HERE, &headers("alice:alice123")).await, Login::Known, "it is known already");
        assert_eq!(users.login([10, 0, 0, 7].into(), &headers("bob:bob:123")).await, Login::Known);
        let others = PASSWORDS_WAITING_MAX..PASSWORDS_WAITING_ALL_MAX;
        let others: Vec<_> = others
            .map(|number| Place::take(&users.waiting, [10, 0, 1, number as u8].into()).expect("a place"))
            .collect();
        assert_eq!(users.login([10, 0, 0, 8].into(), &headers("bob:wrong")).await, Login::Busy, "so many wait in all");
        assert_eq!(
            users.login([10, 0, 0, 8].into(), &headers("bob:bob:123")).await,
            Login::Known,
            "it is known already"
        );
        drop((places, others));
        assert!(users.waiting.lock().expect("waiting").is_empty());
    }
}
