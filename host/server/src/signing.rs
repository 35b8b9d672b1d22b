//! Signatures of components: Ed25519 over the bytes of the file, kept beside it as `<file>.sig`; an upload brings its own
//! along. Detached, and over the file as it is, so that any tool makes and checks one (`openssl pkeyutl -sign -rawin`), and
//! nothing of a component is parsed before its signature holds. Keys are in the forms of that tool: PKCS #8 and
//! SubjectPublicKeyInfo.
//!
//! Owns the forms and the arithmetic's calls. Which keys count, and whether a signature is needed, the manifest says.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Signing;

const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
/// The header that brings an upload's signature.
pub(crate) const SIGNATURE_HEADER: &str = "component-signature";
/// What stands before the 32 bytes of an Ed25519 public key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const PUBLIC_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What stands before the 32 bytes of an Ed25519 private key in a PKCS #8 key (RFC 8410, section 7).
const PRIVATE_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A key that checks signatures. Its text is what stands between the lines of a PEM file: the form that
/// `openssl pkey -pubout` prints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    fn verifies(&self, bytes: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, &signature.0).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let der = STANDARD.decode(text).map_err(|_| "is not base64")?;
        let key = der.strip_prefix(&PUBLIC_HEAD).ok_or("is not an Ed25519 public key")?;
        key.try_into().map(Self).map_err(|_| "is not an Ed25519 public key")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode([PUBLIC_HEAD.as_slice(), &self.0].concat()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A signature of a component. Its text is base64, for where bytes do not go: a header of an upload, a document.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature([u8; SIGNATURE_BYTES]);

impl FromStr for Signature {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = STANDARD.decode(text).map_err(|_| "is not base64")?;
        bytes.try_into().map(Self).map_err(|_| "is no Ed25519 signature of 64 bytes")
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A key that signs. It cannot be printed but for the file that it is kept in.
pub(crate) struct SecretKey(Ed25519KeyPair);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// A file holds something else.
    #[error("holds no Ed25519 key in PKCS #8 PEM form, such as `openssl genpkey -algorithm ed25519` makes")]
    Form,
    /// The system gave no randomness.
    #[error("the system gives no random bytes")]
    Random,
}

impl SecretKey {
    /// A new key, and the text of the file that it is to be kept in.
    pub(crate) fn generate() -> Result<(Self, String), KeyError> {
        let mut seed = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::Random)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Random)?;
        // the first version of PKCS #8, without the public key: other tools do not read the second
        let text = STANDARD.encode([PRIVATE_HEAD.as_slice(), &seed].concat());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        Ok((Self(pair), pem))
    }

    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Form)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        pair.map(Self).map_err(|_| KeyError::Form)
    }

    pub(crate) fn public(&self) -> PublicKey {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// The signature of a file's bytes, as its own file holds it.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }

    #[cfg(test)]
    fn signature(&self, bytes: &[u8]) -> Signature {
        Signature(self.sign(bytes).try_into().unwrap())
    }
}

/// Why a component is not believed; whoever shows it names the component.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignatureError {
    /// There is no signature.
    #[error("is not signed: there is no {}; `atelier component sign` makes it (signing.required)", signature.display())]
    Missing {
        /// Where it should be.
        signature: PathBuf,
    },
    /// An upload came without one.
    #[error(
        "was uploaded without a signature; send that in the header `{SIGNATURE_HEADER}`, or let `atelier component \
         upload` send the `.sig` beside the file (signing.required)"
    )]
    NotSent,
    /// The signature cannot be read.
    #[error("its signature {} cannot be read: {error}", signature.display())]
    Unreadable {
        /// Where it is.
        signature: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The signature has another length.
    #[error("{} is no signature: Ed25519 makes {SIGNATURE_BYTES} bytes; sign the component anew", signature.display())]
    Form {
        /// Where it is.
        signature: PathBuf,
    },
    /// No key made the signature of these bytes.
    #[error(
        "was signed by none of signing.keys ({known}), or was changed since; sign it anew with `atelier component sign`"
    )]
    Unknown {
        /// The names of the keys.
        known: String,
    },
}

/// Where the signature of a file is kept.
pub(crate) fn signature_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// The signature beside a file; `None` when there is none.
pub(crate) fn beside(file: &Path) -> Result<Option<Signature>, SignatureError> {
    let signature = signature_of(file);
    match read(&signature) {
        Ok(given) => match given.try_into() {
            Ok(bytes) => Ok(Some(Signature(bytes))),
            Err(_) => Err(SignatureError::Form { signature }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SignatureError::Unreadable { signature, error }),
    }
}

/// The name of the key that signed a file's bytes; `None` when it is not signed and need not be. Reads the file beside.
pub(crate) fn check_file<'a>(
    signing: &'a Signing,
    file: &Path,
    bytes: &[u8],
) -> Result<Option<&'a str>, SignatureError> {
    if !signing.is_asked() {
        return Ok(None);
    }
    match beside(file)? {
        Some(signature) => check(signing, &signature, bytes).map(Some),
        None if signing.required => Err(SignatureError::Missing { signature: signature_of(file) }),
        None => Ok(None),
    }
}

/// The same of an upload, which has brought its signature along.
pub(crate) fn check_upload<'a>(
    signing: &'a Signing,
    signature: Option<&Signature>,
    bytes: &[u8],
) -> Result<Option<&'a str>, SignatureError> {
    match signature {
        Some(signature) if signing.is_asked() => check(signing, signature, bytes).map(Some),
        None if signing.required => Err(SignatureError::NotSent),
        _ => Ok(None),
    }
}

/// The name of the key that made a signature of these bytes.
fn check<'a>(signing: &'a Signing, signature: &Signature, bytes: &[u8]) -> Result<&'a str, SignatureError> {
    if let Some(key) = signing.keys.iter().find(|key| key.public_key.verifies(bytes, signature)) {
        return Ok(&key.name);
    }
    let known: Vec<&str> = signing.keys.iter().map(|key| key.name.as_str()).collect();
    Err(SignatureError::Unknown { known: known.join(", ") })
}

/// Whoever can write signatures decides how long they are; more than one too many is not read.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(SIGNATURE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_again_and_signs_what_its_public_half_verifies() {
        let (key, pem) = SecretKey::generate().unwrap();
        let again = SecretKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(key.public(), again.public());
        let signature = again.signature(b"component");
        assert!(key.public().verifies(b"component", &signature));
        assert!(!key.public().verifies(b"Component", &signature));
        assert!(!SecretKey::generate().unwrap().0.public().verifies(b"component", &signature));
    }

    #[test]
    fn signatures_are_those_of_the_standard() {
        // RFC 8032, section 7.1, test 1: the empty message
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
        let key = SecretKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(key.public().0[..4], [0xd7, 0x5a, 0x98, 0x01]);
        assert_eq!(key.sign(b"")[..4], [0xe5, 0x56, 0x43, 0x00]);
    }

    #[test]
    fn a_public_key_is_what_openssl_prints_and_nothing_else_is_one() {
        let text = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        assert_eq!(text.parse::<PublicKey>().unwrap().to_string(), text);
        for wrong in
            ["", "%", "MCowBQYDK2VwAyEA", &text[..40], "GZ9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="]
        {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_files_are_no_keys() {
        for text in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "\u{0}"] {
            assert!(matches!(SecretKey::from_pem(text.as_bytes()), Err(KeyError::Form)), "{text}");
        }
    }

    #[test]
    fn a_signature_is_read_from_the_text_that_it_is_written_as_and_from_no_other() {
        let (key, _) = SecretKey::generate().unwrap();
        let text = key.signature(b"component").to_string();
        assert_eq!(text.parse::<Signature>().unwrap().to_string(), text);
        for wrong in ["", "AAAA", &text[..84], &text.replace('=', "%"), &format!("{text}AAAA")] {
            assert!(wrong.parse::<Signature>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_upload_needs_a_signature_where_files_need_one() {
        let (key, _) = SecretKey::generate().unwrap();
        let release = crate::config::SigningKey { name: "release".into(), public_key: key.public() };
        let signature = key.signature(b"component");
        let off = Signing::default();
        assert_eq!(check_upload(&off, Some(&signature), b"other").unwrap(), None, "nobody asks");
        let lenient = Signing { required: false, keys: vec![release] };
        assert_eq!(check_upload(&lenient, None, b"component").unwrap(), None);
        let strict = Signing { required: true, ..lenient.clone() };
        assert!(matches!(check_upload(&strict, None, b"component"), Err(SignatureError::NotSent)));
        for signing in [lenient, strict] {
            assert_eq!(check_upload(&signing, Some(&signature), b"component").unwrap(), Some("release"));
            let refused = check_upload(&signing, Some(&signature), b"other");
            assert!(matches!(refused, Err(SignatureError::Unknown { .. })));
        }
    }

    #[test]
    fn a_signature_lies_beside_its_file() {
        assert_eq!(signature_of(Path::new("a/b.wasm")), Path::new("a/b.wasm.sig"));
    }
}
