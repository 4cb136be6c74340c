//! The `age` encryption of v0.3: identities, and the content behind it.

use std::io::{BufReader, Chain, Cursor, Read};

use age::stream::StreamReader;
use age::{DecryptError, Decryptor, Identity, x25519};

use crate::domain::limits::AGE_HEADER_BYTES_MAX;
use crate::domain::litestream::format_error::{FormatError, Problem};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::secret::Secret;

/// How an encrypted file begins (age-encryption.org/v1). Litestream writes the binary form, never the armored one.
const AGE_MAGIC: &[u8] = b"age-encryption.org/";

/// The start of the line with which its header ends.
const AGE_HEADER_END: &[u8] = b"\n---";

/// Bytes that are handed to the decryption at once; age encrypts 64 KiB at a time.
const BUFFER_BYTES: usize = 128 << 10;

/// The secret keys with which encrypted objects are read.
#[derive(Clone, Default)]
pub struct AgeIdentities(Vec<x25519::Identity>);

impl AgeIdentities {
    /// Reads identities as `age-keygen` writes them, `AGE-SECRET-KEY-1…`, one a line; empty lines and comments (`#`)
    /// are left out. That is what Litestream takes.
    ///
    /// # Errors
    ///
    /// A line that is something else. It is not shown: it may be most of a secret.
    pub fn parse(texts: &[Secret]) -> Result<Self, Reason> {
        let mut identities = Vec::new();
        for (number, line) in texts.iter().flat_map(|text| text.expose().lines().enumerate()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = line.parse().map_err(|_| {
                let message = format!("read age identity: line {} is not one", number + 1);
                Reason::new(ReasonKind::Misconfigured, message).with_hint("an identity begins with AGE-SECRET-KEY-1")
            })?;
            identities.push(identity);
        }
        Ok(Self(identities))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The content of an object: decrypted where it is encrypted, which its first bytes tell.
    ///
    /// # Errors
    ///
    /// An encrypted object that these identities do not open, or whose header is not one.
    pub fn open<R: Read>(&self, mut object: R) -> Result<Content<R>, FormatError> {
        let mut head = Vec::with_capacity(AGE_MAGIC.len());
        take(&mut object, &mut head, AGE_MAGIC.len())?;
        if head != AGE_MAGIC {
            return Ok(Content::Clear(Cursor::new(head).chain(object)));
        }
        if self.is_empty() {
            return Err(FormatError::new(0, Problem::Encrypted));
        }
        // The header is read to its end by whoever parses it, so that its length has to be bounded before.
        while !head.windows(AGE_HEADER_END.len()).any(|bytes| bytes == AGE_HEADER_END) {
            if head.len() >= AGE_HEADER_BYTES_MAX {
                let cause = format!("header of more than {AGE_HEADER_BYTES_MAX} bytes");
                return Err(FormatError::new(0, Problem::Decrypt(cause)));
            }
            let wanted = (head.len() + 512).min(AGE_HEADER_BYTES_MAX);
            if take(&mut object, &mut head, wanted)? < wanted {
                break;
            }
        }
        let object = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head).chain(object));
        let identities = self.0.iter().map(|identity| identity as &dyn Identity);
        let stream = Decryptor::new_buffered(object).and_then(|decryptor| decryptor.decrypt(identities));
        stream.map(|stream| Content::Decrypted(Box::new(stream))).map_err(|error| {
            let problem = match error {
                DecryptError::NoMatchingKeys => Problem::WrongIdentity,
                other => Problem::Decrypt(other.to_string()),
            };
            FormatError::new(0, problem)
        })
    }
}

impl std::fmt::Debug for AgeIdentities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} identities", self.0.len())
    }
}

/// Reads until `buffer` has `length` bytes or there are no more, and says how many it has.
fn take(object: &mut impl Read, buffer: &mut Vec<u8>, length: usize) -> Result<usize, FormatError> {
    let wanted = length.saturating_sub(buffer.len()) as u64;
    let read = object.by_ref().take(wanted).read_to_end(buffer);
    read.map(|_| buffer.len()).map_err(|error| FormatError::new(buffer.len() as u64, Problem::Read(error.to_string())))
}

/// An object whose beginning was read to see what it is.
type Again<R> = Chain<Cursor<Vec<u8>>, R>;

/// The content of an object, decrypted if need be.
pub enum Content<R: Read> {
    Clear(Again<R>),
    Decrypted(Box<StreamReader<BufReader<Again<R>>>>),
}

impl<R: Read> Content<R> {
    /// A read of decrypted content that fails says that the content is not what was encrypted; what is beneath fails
    /// by other means.
    pub(super) fn blame(&self, error: FormatError) -> FormatError {
        match (self, error) {
            (Self::Decrypted(_), FormatError { offset, problem: Problem::Read(cause) }) => {
                FormatError { offset, problem: Problem::Decrypt(cause) }
            }
            (_, error) => error,
        }
    }
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Clear(reader) => reader.read(buffer),
            Self::Decrypted(reader) => reader.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use age::secrecy::ExposeSecret;
    use age::{Encryptor, Recipient};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::samples;

    fn encrypted(identity: &x25519::Identity, content: &[u8]) -> Vec<u8> {
        let recipient = identity.to_public();
        let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as &dyn Recipient)).unwrap();
        let mut writer = encryptor.wrap_output(Vec::new()).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn identities(identities: &[&x25519::Identity]) -> AgeIdentities {
        let text = |identity: &&x25519::Identity| Secret::new(identity.to_string().expose_secret());
        AgeIdentities::parse(&identities.iter().map(text).collect::<Vec<_>>()).unwrap()
    }

    fn read(identities: &AgeIdentities, object: &[u8]) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        let mut opened = identities.open(object).map_err(|error| error.to_string())?;
        opened.read_to_end(&mut content).map_err(|error| error.to_string())?;
        Ok(content)
    }

    #[test]
    fn reads_what_is_encrypted_and_what_is_not() {
        let (own, other) = (x25519::Identity::generate(), x25519::Identity::generate());
        let content: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let object = encrypted(&own, &content);
        assert_eq!(read(&identities(&[&other, &own]), &object).as_ref(), Ok(&content));
        assert_eq!(read(&AgeIdentities::default(), &content).as_ref(), Ok(&content));
        assert_eq!(read(&identities(&[&own]), b"age").unwrap(), b"age");
        assert_eq!(read(&AgeIdentities::default(), &object).unwrap_err(), "encrypted with age at byte 0");
        let error = read(&identities(&[&other]), &object).unwrap_err();
        assert_eq!(error, "encrypted with age for other identities at byte 0");
        for length in [AGE_MAGIC.len(), 100, 300, 70_000, object.len() - 1] {
            assert!(read(&identities(&[&own]), &object[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn an_endless_header_is_not_read() {
        struct Endless(u64);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                buffer.fill(b'A');
                self.0 += buffer.len() as u64;
                assert!(self.0 < 2 * AGE_HEADER_BYTES_MAX as u64, "it is bounded");
                Ok(buffer.len())
            }
        }
        let own = identities(&[&x25519::Identity::generate()]);
        let object = b"age-encryption.org/v1\n-> X25519 ".as_slice().chain(Endless(0));
        let error = own.open(object).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("decrypt: header of more than 65536 bytes at byte 0"));
    }

    #[test]
    fn identities_are_read_and_not_shown() {
        let own = x25519::Identity::generate();
        let text = format!("# created: today\n\n  {}\n", own.to_string().expose_secret());
        let both = AgeIdentities::parse(&[Secret::new(text), Secret::new("")]).unwrap();
        assert_eq!((both.is_empty(), format!("{both:?}").as_str()), (false, "1 identities"));
        let error = AgeIdentities::parse(&[Secret::new("# one\nAGE-SECRET-KEY-1GEHEIM")]).unwrap_err();
        assert_eq!(error.to_string(), "read age identity: line 2 is not one");
        assert!(AgeIdentities::parse(&[]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn damage_is_found(damage in samples::damage()) {
            static SAMPLE: std::sync::LazyLock<(x25519::Identity, Vec<u8>)> = std::sync::LazyLock::new(|| {
                let own = x25519::Identity::generate();
                let object = encrypted(&own, &[7; 70_000]);
                (own, object)
            });
            let (own, object) = &*SAMPLE;
            let damaged = damage.apply(object);
            let content = read(&identities(&[own]), &damaged);
            // Without its first line it is not taken for encrypted, and no LZ4 frame either.
            prop_assert!(damaged == *object || content.is_err() || content == Ok(damaged));
        }
    }
}
