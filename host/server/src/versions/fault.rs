//! Why a version did not change. Each text names the route and what to do.

use super::Place;
use crate::vault::VaultError;

/// Why a version did not change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The manifest names no such route.
    #[error("there is no route `{0}`; `atelier route list` names them")]
    NoRoute(String),
    /// The route has no such place.
    #[error(
        "route `{route}` names nothing as `{place}`; a version can stand only where the manifest names a component"
    )]
    NoPlace {
        /// The route.
        route: String,
        /// The place.
        place: Place,
    },
    /// The history has no such version, or no longer.
    #[error(
        "route `{route}` has no version {version}; `atelier component list {route}` names those that are kept"
    )]
    NoVersion {
        /// The route.
        route: String,
        /// The version.
        version: u64,
    },
    /// The component does not load or does not answer its probe. Nothing changed.
    #[error("version {version} of route `{route}` does not serve: {reason}")]
    Refused {
        /// The route.
        route: String,
        /// The version.
        version: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The version never worked.
    #[error("version {version} of route `{route}` was refused ({reason}); upload a mended component")]
    WasRefused {
        /// The route.
        route: String,
        /// The version.
        version: u64,
        /// Why.
        reason: String,
    },
    /// Files are not kept, and these are not what they were.
    #[error(
        "version {version} of route `{route}` was read from files that have changed since; put them back, or upload them"
    )]
    FilesChanged {
        /// The route.
        route: String,
        /// The version.
        version: u64,
    },
    /// No version served before this one.
    #[error(
        "route `{0}` has no earlier version to go back to; name one with `--to VERSION`, take `--to manifest`, or let \
         one that waits serve with `atelier component promote {0} VERSION`"
    )]
    NothingBefore(String),
    /// Another change came first.
    #[error("route `{route}` changed at the same time; version {version} is kept: promote it")]
    Changed {
        /// The route.
        route: String,
        /// The version.
        version: u64,
    },
    /// All uploads together are too large.
    #[error(
        "the components that serve take {used} bytes; {bytes} more do not fit into {limit} (store.upload-bytes)"
    )]
    NoRoom {
        /// What serves.
        used: u64,
        /// The component.
        bytes: u64,
        /// All together.
        limit: u64,
    },
    /// Nothing can be kept.
    #[error(transparent)]
    Vault(#[from] VaultError),
}
