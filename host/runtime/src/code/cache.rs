//! Machine code on disk. Loading it means running it, so only files that carry our own seal are loaded, and a file is
//! found only under the very bytes, engine configuration and version that made it. Whatever is wrong with a file, the
//! component is compiled again; the cache never keeps a route from loading.

use std::hash::{Hash, Hasher};
use std::path::Path;

use atelier_store::SealedFiles;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::machine;
use crate::Error;

/// Sealed machine code, by what it was made from.
pub(crate) struct Cache {
    files: SealedFiles,
}

impl Cache {
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self { files: SealedFiles::open(dir)? })
    }

    pub(super) fn get(&self, engine: &Engine, name: &str, digest: blake3::Hash) -> Option<Component> {
        let key = key(engine, digest);
        let bytes = match self.files.get(&key) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                if self.files.contains(&key).unwrap_or(false) {
                    tracing::warn!(
                        component = name,
                        key,
                        "cached machine code has a wrong seal; compiling again"
                    );
                }
                return None;
            }
            Err(error) => {
                tracing::warn!(component = name, %error, "cannot read cached machine code; compiling again");
                return None;
            }
        };
        // `SealedFiles` returned these bytes, so they carry a MAC under a secret that only this host's user can read:
        // they are what a compiler of ours gave, for the same engine configuration and version
        machine::load(engine, &bytes)
            .inspect_err(|error| tracing::warn!(component = name, %error, "cached machine code does not load; compiling again"))
            .ok()
    }

    pub(super) fn put(&self, engine: &Engine, name: &str, digest: blake3::Hash, code: &[u8]) {
        if let Err(error) = self.files.put(&key(engine, digest), code) {
            tracing::warn!(
                component = name,
                %error,
                "cannot keep machine code; the next start compiles again"
            );
        }
    }
}

/// Other bytes, another configuration of the engine or another version of it or us make another key.
fn key(engine: &Engine, digest: blake3::Hash) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(digest.as_bytes()).update(env!("CARGO_PKG_VERSION").as_bytes());
    let mut compatibility = Compatibility(hasher);
    engine.precompile_compatibility_hash().hash(&mut compatibility);
    compatibility.0.finalize().to_string()
}

/// Lets what wants a `Hasher` write into BLAKE3, whose result is the same in every process.
struct Compatibility(blake3::Hasher);

impl Hasher for Compatibility {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self.0.finalize().as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}
