//! Accounts: a name, a password that is kept as its Argon2id hash only, and the owner whose gallery it is. Guesses are counted
//! by where they come from.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use atelier_kit::fields::{Field, Reader, Table, Text};
use atelier_kit::{Host, Request, Storage};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::gallery::Gallery;
use crate::settings::BUCKET;
use crate::visitor::{self, Visitor};

/// Wrong guesses from one place within a window, and the window, in seconds.
const MAX_GUESSES: u32 = 10;
const WINDOW_SECONDS: u64 = 15 * 60;

/// What OWASP recommends at least (Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

static NAME: Field<Text> =
    Field::required("name", Text { min: 1, max: 60 }, "The account's name, in any letters.");
static PASSWORD: Field<Text> =
    Field::required("password", Text { min: 8, max: 200 }, "The password, of 8 characters at least.");

/// The fields of both verbs.
pub(crate) const ACCOUNT: Table = &[&NAME, &PASSWORD];

#[derive(Serialize, Deserialize)]
struct Account {
    /// In PHC string format.
    hash: String,
    owner: String,
}

#[derive(Default, Serialize, Deserialize)]
struct Guesses {
    count: u32,
    /// Seconds since 1970.
    since: u64,
}

/// A name and a password as they were sent.
pub(crate) struct Credentials {
    name: String,
    password: String,
}

impl Credentials {
    /// Reads them from a JSON body.
    pub(crate) fn parse(request: &Request) -> Result<Self, Failure> {
        let mut reader = Reader::new(&request.body, ACCOUNT).map_err(Failure::invalid)?;
        let name = reader.value(&NAME);
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            reader.fault_of(NAME.name(), "`name` is not to be read; give letters, digits or signs");
        }
        let credentials = Self { name: name.trim().to_owned(), password: reader.value(&PASSWORD) };
        reader.check(credentials).map_err(Failure::from)
    }

    /// Names that differ in capitals only are one.
    fn key(&self) -> String {
        format!("account/{}", blake3::hash(self.name.to_lowercase().as_bytes()).to_hex())
    }
}

/// Makes an account for the visitor, whose pictures become its.
pub(crate) async fn register(
    host: &(impl Host + Storage),
    visitor: Visitor,
    credentials: &Credentials,
) -> Result<Visitor, Failure> {
    let present = Gallery::load(host, &visitor.owner).await?;
    // one who is logged in already begins anew: an owner has one account
    let visitor = if present.account.is_some() { visitor.anonymous()? } else { visitor };
    let account = Account { hash: hashed(&credentials.password)?, owner: visitor.owner.clone() };
    let value = serde_json::to_vec(&account).map_err(|_| broken())?;
    if !host.replace(BUCKET, &credentials.key(), None, &value).await? {
        let text =
            format!("there is an account `{}` already; log in, or take another name", credentials.name);
        return Err(Failure::new(409, "name_taken", text).about("name"));
    }
    Gallery::change(host, &visitor.owner, |gallery| {
        gallery.account = Some(credentials.name.clone());
        Ok(())
    })
    .await?;
    Ok(visitor)
}

/// Becomes the account's owner, who takes over the pictures that the visitor made without an account.
pub(crate) async fn log_in(
    host: &(impl Host + Storage),
    visitor: Visitor,
    credentials: &Credentials,
) -> Result<Visitor, Failure> {
    let guesses = format!("guesses/{}", visitor.source);
    may_guess(host, &guesses).await?;
    let value = host.get(BUCKET, &credentials.key()).await?;
    let account =
        value.map(|value| serde_json::from_slice::<Account>(&value).map_err(|_| broken())).transpose()?;
    // a name that nobody has costs the same time
    let known = account.as_ref().map_or_else(decoy, |account| Ok(account.hash.clone()))?;
    let is_right = verifies(&credentials.password, &known);
    let Some(account) = account.filter(|_| is_right) else {
        count_guess(host, &guesses).await?;
        return Err(Failure::new(401, "wrong_login", "no account has this name and password"));
    };
    let anonymous = Gallery::load(host, &visitor.owner).await?;
    if anonymous.account.is_none() && visitor.owner != account.owner && !anonymous.images.is_empty() {
        let take = |gallery: &mut Gallery| {
            gallery.take_over(anonymous.clone());
            Ok(())
        };
        Gallery::change(host, &account.owner, take).await?;
    }
    Ok(visitor.becoming(account.owner))
}

fn argon2() -> Result<Argon2<'static>, Failure> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| broken())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hashed(password: &str) -> Result<String, Failure> {
    let salt = SaltString::encode_b64(&visitor::random::<16>()?).map_err(|_| broken())?;
    let hash = argon2()?.hash_password(password.as_bytes(), &salt).map_err(|_| broken())?;
    Ok(hash.to_string())
}

fn verifies(password: &str, hash: &str) -> bool {
    let Ok(argon2) = argon2() else { return false };
    PasswordHash::new(hash).is_ok_and(|hash| argon2.verify_password(password.as_bytes(), &hash).is_ok())
}

/// The hash of a password that nobody has.
fn decoy() -> Result<String, Failure> {
    hashed(&format!("{:032x}", u128::from_be_bytes(visitor::random()?)))
}

/// Refuses those who guessed wrong too often.
async fn may_guess(host: &(impl Host + Storage), key: &str) -> Result<(), Failure> {
    let now = host.unix_seconds();
    let guesses = recent(host.get(BUCKET, key).await?.as_deref(), now);
    if guesses.count < MAX_GUESSES {
        return Ok(());
    }
    let rest = (guesses.since + WINDOW_SECONDS).saturating_sub(now);
    let text =
        format!("{MAX_GUESSES} wrong logins came from here; try again in {} minutes", rest.div_ceil(60));
    Err(Failure::new(429, "too_many_guesses", text).until(rest * 1_000))
}

async fn count_guess(host: &(impl Host + Storage), key: &str) -> Result<(), Failure> {
    let now = host.unix_seconds();
    host.update(BUCKET, key, |present| {
        let guesses = recent(present, now);
        let guesses = Guesses { count: guesses.count + 1, ..guesses };
        Ok((serde_json::to_vec(&guesses).map_err(|_| broken())?, ()))
    })
    .await
}

/// The guesses of the present window.
fn recent(value: Option<&[u8]>, now: u64) -> Guesses {
    let kept = value.and_then(|value| serde_json::from_slice::<Guesses>(value).ok());
    kept.filter(|guesses| now < guesses.since + WINDOW_SECONDS).unwrap_or(Guesses { count: 0, since: now })
}

fn broken() -> Failure {
    Failure::backend("what is kept of this account cannot be read or written")
}
