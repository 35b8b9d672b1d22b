//! Files within JSON: base64, with or without padding at its end.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::Error;

const CODE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The file as text.
pub fn encoded(file: &[u8]) -> String {
    CODE.encode(file)
}

/// The file of a text.
///
/// # Errors
/// [`Error::Malformed`] where it is none.
pub fn decoded(text: &str) -> Result<Vec<u8>, Error> {
    CODE.decode(text.trim()).map_err(|_| Error::Malformed("a file of its answer is no base64".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_and_what_is_none_is_refused() {
        for file in [&b""[..], b"a", b"ab", b"abc", &[0, 255, 128]] {
            assert_eq!(decoded(&encoded(file)).as_deref(), Ok(file));
            assert_eq!(decoded(encoded(file).trim_end_matches('=')).as_deref(), Ok(file));
        }
        for broken in ["?", "a", "YQ==YQ==", "äö"] {
            assert!(matches!(decoded(broken), Err(Error::Malformed(_))), "{broken}");
        }
    }
}
