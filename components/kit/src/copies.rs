//! The capability `copies` as plain types behind one trait: what other programs may read of what the handler keeps, and how the
//! servers fare that it is copied to. The fields mean what `wit/copies.wit` says of the items of the same name.

/// How a server fares (`copies.service-state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// Nobody has asked it yet.
    Unknown,
    /// It answered last.
    Connected,
    /// It did not answer last, or with an error.
    Degraded,
}

/// A server that copies go to (`copies.service`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/copies.wit")]
pub struct Service {
    pub id: String,
    pub kind: String,
    pub state: ServiceState,
    pub waiting: u64,
    pub reason: Option<String>,
}

/// An object's copy (`copies.copy`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectCopy {
    /// Where it is, or will be.
    pub url: String,
    /// Whether the object as it is now was copied.
    pub is_there: bool,
}

/// Why nothing is known of a copy. The texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyError {
    /// The manifest does not grant it; the text names the key to add.
    Denied(String),
    /// There is no such object.
    NotFound,
    /// Anything else.
    Failed(String),
}

/// What a handler asks whose objects and jobs are copied.
#[expect(async_fn_in_trait, reason = "guests run on one thread")]
pub trait Copies {
    /// The servers that the route's copies go to, as they fare within the last seconds.
    async fn services(&self) -> Vec<Service>;
    /// Where the copy of an object is; none where the manifest copies nothing of the container. Waits so long for it to be there.
    async fn object_copy(
        &self,
        container: &str,
        name: &str,
        wait_ms: u32,
    ) -> Result<Option<ObjectCopy>, CopyError>;
}
