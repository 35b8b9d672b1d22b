//! Signatures of webhooks as Standard Webhooks has them (<https://www.standardwebhooks.com>): HMAC-SHA256 over id, time and body,
//! under a secret that the receiver has as well.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// What stands before a secret.
const PREFIX: &str = "whsec_";
/// Bytes of a secret.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// What signs: one secret, or several while receivers change over to a new one. Nothing prints it.
pub(crate) struct Signer(Vec<hmac::Key>);

impl Signer {
    /// Reads `whsec_` and base64, several times apart by spaces. The text says what is wrong, and nothing of the secret.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let keys: Vec<hmac::Key> =
            text.split_whitespace().map(key).collect::<Option<_>>().unwrap_or_default();
        if keys.is_empty() {
            let (least, most) = (BYTES.start(), BYTES.end());
            return Err(format!(
                "wants `{PREFIX}` and {least} to {most} random bytes in base64, such as `openssl rand -base64 32` gives"
            ));
        }
        Ok(Self(keys))
    }

    /// The header `webhook-signature` of a message: a signature for each secret.
    pub(crate) fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let sign = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{seconds}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

fn key(text: &str) -> Option<hmac::Key> {
    let bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    BYTES.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_message_is_signed_as_the_libraries_of_standard_webhooks_sign_it() {
        // the example of their tests
        let signer = Signer::read(SECRET).unwrap();
        let signed = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_changes_messages_have_a_signature_of_each() {
        let other = format!("{PREFIX}{}", STANDARD.encode([7; 32]));
        let both = Signer::read(&format!(" {SECRET}\n{other} ")).unwrap().sign("a", 1, b"{}");
        let apart = [SECRET, &other].map(|secret| Signer::read(secret).unwrap().sign("a", 1, b"{}"));
        assert_eq!(both, apart.join(" "));
        assert_ne!(apart[0], apart[1]);
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        let encoded = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]));
        assert!(Signer::read(&encoded(24)).is_ok() && Signer::read(&encoded(64)).is_ok());
        for text in ["", " ", "hunter2", "whsec_", "whsec_!!!", &encoded(23), &encoded(65)] {
            let why = Signer::read(text).err().unwrap();
            assert!(why.contains("whsec_") && !why.contains("hunter2"), "{why}");
        }
        assert!(Signer::read(&format!("{SECRET} hunter2")).is_err(), "one that is wrong is not left out");
    }
}
