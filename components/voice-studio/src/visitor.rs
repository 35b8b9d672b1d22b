//! Who asks. A visitor's pictures belong to an owner, whose name is in a cookie that only this handler can sign, that of an account
//! beside a session's (`sessions`); how many pictures a visitor may make without an account is counted by where the request comes from and which browser it names, since
//! a cookie is soon thrown away.

use std::net::{IpAddr, Ipv6Addr};

use atelier_kit::http::{Request, Response};
use atelier_kit::{Host, Storage, docs};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::gallery::Gallery;
use crate::sessions;
use crate::settings::{BUCKET, Settings};

/// The cookie's name.
const COOKIE: &str = "voice_studio";
/// How long a browser keeps it, in seconds: 400 days, the most that browsers grant.
const COOKIE_SECONDS: u64 = 400 * 86_400;
/// What keys are derived for (BLAKE3, section 6.2: "hardcoded, globally unique").
const COOKIE_KEY: &str = "atelier voice-studio 2026-11-23 cookie";
const COUNT_KEY: &str = "atelier voice-studio 2026-11-22 count";
const PLACE_KEY: &str = "atelier voice-studio 2026-11-23 place";
/// Where the secret is, if the configuration has none.
const SECRET: &str = "secret";

/// One who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// Whose the pictures are: 32 hexadecimal digits.
    pub(crate) owner: String,
    /// What pictures without an account are counted by.
    pub(crate) source: String,
    /// What wrong logins are counted by: the address alone, since a browser names itself as it likes.
    pub(crate) place: String,
    /// Of an account's owner.
    session: Option<String>,
    /// Whether the browser has no cookie of this owner yet.
    is_new: bool,
    secret: [u8; 32],
    secure: bool,
    /// The route's prefix.
    base: String,
}

impl Visitor {
    /// From the request's cookie, or a new one.
    pub(crate) async fn of(
        host: &(impl Host + Storage),
        request: &Request,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let secret = secret(host, settings).await?;
        let known = known(host, request, &secret).await?;
        let address = request.headers.get("x-forwarded-for").ok_or_else(|| {
            let text = "visitors cannot be told apart: add `client-address = true` to the route's `grants`";
            Failure::backend(text)
        })?;
        let agent = request.headers.get("user-agent").unwrap_or_default();
        let short = |purpose, text: &str| keyed(purpose, &secret, text).chars().take(24).collect::<String>();
        let source = short(COUNT_KEY, &format!("{address}\n{agent}"));
        let place = short(PLACE_KEY, &network(address));
        let is_new = known.is_none();
        let (owner, session) = known.map_or_else(|| Ok((random_id()?, None)), Ok::<_, Failure>)?;
        let (secure, base) = (settings.secure_cookies, docs::base(request).to_owned());
        Ok(Self { owner, source, place, session, is_new, secret, secure, base })
    }

    /// Whether it came with a cookie of ours.
    pub(crate) fn is_known(&self) -> bool {
        !self.is_new
    }

    /// Whether it came as the owner of an account.
    pub(crate) fn has_account(&self) -> bool {
        self.session.is_some()
    }

    /// The same browser as the owner of an account, in a session of its own. The one before ends.
    pub(crate) async fn becoming(self, host: &impl Storage, owner: String) -> Result<Self, Failure> {
        self.leave(host).await?;
        let session = Some(sessions::begin(host, &owner).await?);
        Ok(Self { owner, session, is_new: true, ..self })
    }

    /// The same browser under nobody's name.
    pub(crate) async fn anonymous(self, host: &impl Storage) -> Result<Self, Failure> {
        self.leave(host).await?;
        Ok(Self { owner: random_id()?, session: None, is_new: true, ..self })
    }

    async fn leave(&self, host: &impl Storage) -> Result<(), Failure> {
        match &self.session {
            Some(session) => sessions::end(host, &self.owner, session).await,
            None => Ok(()),
        }
    }

    /// The response with the cookie, where the browser lacks it.
    pub(crate) fn remembered(&self, response: Response) -> Response {
        if !self.is_new {
            return response;
        }
        let Self { owner, secret, base, .. } = self;
        let named = self.session.as_ref().map_or(owner.clone(), |session| format!("{owner}.{session}"));
        let seal = keyed(COOKIE_KEY, secret, &named);
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!(
            "{COOKIE}={named}.{seal}; Path={base}/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax{secure}"
        );
        response.with("set-cookie", &cookie)
    }

    /// How many pictures were made without an account.
    pub(crate) async fn made(&self, host: &impl Storage) -> Result<u64, Failure> {
        // looking leaves nothing behind: there is a number for whoever made a picture, and for nobody else
        let number = host.get(BUCKET, &self.count()).await?;
        let number = number.and_then(|number| String::from_utf8(number).ok()?.parse().ok());
        Ok(number.unwrap_or(0))
    }

    /// Counts a picture; refused, and not counted, where it is one too many.
    pub(crate) async fn count_one(&self, host: &impl Storage, settings: &Settings) -> Result<(), Failure> {
        let made = host.add(BUCKET, &self.count(), 1).await?;
        if u64::try_from(made).unwrap_or(0) > settings.max_images {
            self.uncount_one(host).await?;
            return Err(limit_reached(settings));
        }
        Ok(())
    }

    /// Takes a picture back that did not come about after all.
    pub(crate) async fn uncount_one(&self, host: &impl Storage) -> Result<(), Failure> {
        Ok(host.add(BUCKET, &self.count(), -1).await.map(|_| ())?)
    }

    fn count(&self) -> String {
        format!("count/{}", self.source)
    }
}

/// The failure of one who has no pictures left.
pub(crate) fn limit_reached(settings: &Settings) -> Failure {
    let text = format!(
        "you have made {} images, which is the limit without an account; log in or register",
        settings.max_images
    );
    Failure::new(403, "image_limit", text)
}

/// What the page shows about a visitor.
pub(crate) async fn session_info(
    host: &impl Storage,
    visitor: &Visitor,
    gallery: &Gallery,
    settings: &Settings,
) -> Result<Value, Failure> {
    let logged_in = gallery.account.is_some();
    let made = if logged_in { gallery.images.len() as u64 } else { visitor.made(host).await? };
    let limit = (!logged_in).then_some(settings.max_images);
    Ok(json!({
        "user_id": format!("u-{}", visitor.source.get(..12).unwrap_or_default()),
        "image_count": made,
        "image_limit": limit,
        "images_left": limit.map(|limit| limit.saturating_sub(made)),
        "logged_in": logged_in,
        "name": gallery.account,
        "current": gallery.current(),
    }))
}

/// The owner whom a cookie of the request names, with the session of an account's.
async fn known(
    host: &impl Storage,
    request: &Request,
    secret: &[u8; 32],
) -> Result<Option<(String, Option<String>)>, Failure> {
    for named in own_cookies(request).filter_map(|value| opened(value, secret)) {
        match named.split_once('.') {
            None => return Ok(Some((named, None))),
            Some((owner, session)) if sessions::is_open(host, owner, session).await? => {
                return Ok(Some((owner.to_owned(), Some(session.to_owned()))));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

/// Where an address is. Who has one of version 6 has the 2^64 beside it as well.
fn network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
        _ => address.to_owned(),
    }
}

/// The values of our cookie in a request: a browser may have one for each path.
fn own_cookies(request: &Request) -> impl Iterator<Item = &str> {
    own_pairs(request).filter_map(|pair| pair.split_once('=')).map(|(_, value)| value)
}

/// Our cookie with its name, the first if there are several.
pub(crate) fn own_cookie(request: &Request) -> Option<&str> {
    own_pairs(request).next()
}

fn own_pairs(request: &Request) -> impl Iterator<Item = &str> {
    let lists = request.headers.iter().filter(|(name, _)| *name == "cookie");
    let pairs = lists.flat_map(|(_, list)| list.split(';')).map(str::trim);
    pairs.filter(|pair| pair.split_once('=').is_some_and(|(name, _)| name == COOKIE))
}

/// What a cookie names, if this handler signed it: an owner, or an account's owner and a session.
fn opened(value: &str, secret: &[u8; 32]) -> Option<String> {
    let (named, seal) = value.rsplit_once('.')?;
    let expected = blake3::Hash::from_hex(keyed(COOKIE_KEY, secret, named)).ok()?;
    // hashes compare in constant time
    (blake3::Hash::from_hex(seal).ok()? == expected).then(|| named.to_owned())
}

fn keyed(purpose: &str, secret: &[u8; 32], text: &str) -> String {
    let key = blake3::derive_key(purpose, secret);
    blake3::keyed_hash(&key, text.as_bytes()).to_hex().to_string()
}

/// What cookies are signed with: from the configuration, or made once and kept.
async fn secret(host: &impl Storage, settings: &Settings) -> Result<[u8; 32], Failure> {
    if let Some(text) = &settings.secret {
        return Ok(*blake3::hash(text.as_bytes()).as_bytes());
    }
    let kept = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok();
    if let Some(secret) = host.get(BUCKET, SECRET).await?.as_deref().and_then(kept) {
        return Ok(secret);
    }
    let fresh = random::<32>()?;
    // whoever came first has decided
    host.update(BUCKET, SECRET, |present| {
        let secret = present.and_then(kept).unwrap_or(fresh);
        Ok::<_, Failure>((secret.to_vec(), secret))
    })
    .await
}

/// A name that nobody guesses, of 32 hexadecimal digits.
pub(crate) fn random_id() -> Result<String, Failure> {
    Ok(u128::from_be_bytes(random()?)).map(|number| format!("{number:032x}"))
}

/// Random bytes of the host's.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Failure::backend("the host has no randomness"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_place() {
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
        assert_eq!(network("2001:db8:1:2:a:b:c:d"), network("2001:db8:1:2::7"));
        assert_ne!(network("2001:db8:1:2::7"), network("2001:db8:1:3::7"));
    }

    #[test]
    fn a_cookie_opens_with_its_own_secret_only() {
        let (secret, owner) = ([7; 32], "00ff");
        let cookie = format!("{owner}.{}", keyed(COOKIE_KEY, &secret, owner));
        assert_eq!(opened(&cookie, &secret).as_deref(), Some(owner));
        assert_eq!(opened(&cookie, &[8; 32]), None);
        for forged in [cookie.replace("00ff", "00fe"), owner.into(), format!("{owner}."), ".".into()] {
            assert_eq!(opened(&forged, &secret), None, "{forged}");
        }
    }
}
