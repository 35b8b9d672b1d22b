//! Accounts: a name, a password that is kept as its Argon2id hash only, and the owner whose gallery it is. Guesses are counted
//! by where they come from, and by the name that they are of.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use atelier_kit::fields::{Field, Reader, Table, Text};
use atelier_kit::tally::Tally;
use atelier_kit::{Host, Request, Storage};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::gallery::Gallery;
use crate::settings::BUCKET;
use crate::visitor::{self, Visitor};

/// Wrong guesses within a quarter of an hour, of a place and of a name.
const GUESSES: Tally = Tally { bucket: BUCKET, name: "guesses", window_seconds: 15 * 60 };
const MAX_GUESSES: u32 = 10;
/// Of a name from everywhere: many places guess no more than this, and a few do not keep its owner out.
const MAX_GUESSES_OF_NAME: u32 = 100;

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
    // always an owner of its own: whoever kept the cookie from before does not come along
    let owner = visitor::random_id()?;
    let account = Account { hash: hashed(&credentials.password)?, owner: owner.clone() };
    let value = serde_json::to_vec(&account).map_err(|_| broken())?;
    if !host.replace(BUCKET, &credentials.key(), None, &value).await? {
        let text =
            format!("there is an account `{}` already; log in, or take another name", credentials.name);
        return Err(Failure::new(409, "name_taken", text).about("name"));
    }
    Gallery::change(host, &owner, |gallery| {
        gallery.account = Some(credentials.name.clone());
        Ok(())
    })
    .await?;
    move_in(host, &visitor, &owner).await?;
    visitor.becoming(host, owner).await
}

/// Becomes the account's owner, who takes over the pictures that the visitor made without an account.
pub(crate) async fn log_in(
    host: &(impl Host + Storage),
    visitor: Visitor,
    credentials: &Credentials,
) -> Result<Visitor, Failure> {
    guess(host, &visitor, credentials).await?;
    let value = host.get(BUCKET, &credentials.key()).await?;
    let account =
        value.map(|value| serde_json::from_slice::<Account>(&value).map_err(|_| broken())).transpose()?;
    // a name that nobody has costs the same time
    let known = account.as_ref().map_or_else(decoy, |account| Ok(account.hash.clone()))?;
    let is_right = verifies(&credentials.password, &known);
    let Some(account) = account.filter(|_| is_right) else {
        return Err(Failure::new(401, "wrong_login", "no account has this name and password"));
    };
    // it was no wrong one after all
    GUESSES.take_back(host, &visitor.place).await?;
    GUESSES.take_back(host, &credentials.key()).await?;
    move_in(host, &visitor, &account.owner).await?;
    visitor.becoming(host, account.owner).await
}

/// Hands the pictures that a visitor made without an account to an account's owner. Nothing of them stays where the cookie from
/// before leads, since whoever kept that could delete their files.
async fn move_in(host: &impl Storage, visitor: &Visitor, owner: &str) -> Result<(), Failure> {
    if visitor.has_account() {
        return Ok(());
    }
    let anonymous = Gallery::load(host, &visitor.owner).await?;
    if anonymous.images.is_empty() {
        return Ok(());
    }
    let take = |gallery: &mut Gallery| {
        gallery.take_over(anonymous.clone());
        Ok(())
    };
    // first there, then no more here: what comes between leaves a picture in both and never in neither
    let (account, ()) = Gallery::change(host, owner, take).await?;
    let leave = |gallery: &mut Gallery| {
        gallery.leave_to(&account);
        Ok(())
    };
    Gallery::change(host, &visitor.owner, leave).await.map(|_| ())
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

/// Counts a guess, which is wrong until it has proved right: counted afterwards, those beside each other would all be let through.
async fn guess(
    host: &(impl Host + Storage),
    visitor: &Visitor,
    credentials: &Credentials,
) -> Result<(), Failure> {
    if let Some(left) = GUESSES.count(host, &visitor.place, MAX_GUESSES).await? {
        return Err(too_many(&format!("{MAX_GUESSES} wrong logins came from here"), left));
    }
    match GUESSES.count(host, &credentials.key(), MAX_GUESSES_OF_NAME).await? {
        Some(left) => Err(too_many("too many wrong logins were of this name", left)),
        None => Ok(()),
    }
}

fn too_many(what: &str, left: u64) -> Failure {
    let text = format!("{what}; try again in {} minutes", left.div_ceil(60));
    Failure::new(429, "too_many_guesses", text).until(left * 1_000)
}

fn broken() -> Failure {
    Failure::backend("what is kept of this account cannot be read or written")
}
