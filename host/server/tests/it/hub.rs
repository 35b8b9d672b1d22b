//! Pulling from a stand-in for the model hub, which can break off, lie and ask who is there.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use atelier::config::{HubRepo, HubSource};
use atelier::hub::{Hub, HubError, HubOptions, Progress, Pulled, Wanted};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Opens what is closed.
pub(crate) const TOKEN: &str = "hf_opens";
const LARGE: &str = "unet/diffusion_pytorch_model.safetensors";

/// Files of a repository by their paths.
pub(crate) type Repository = BTreeMap<String, Vec<u8>>;

/// A hub.
#[derive(Default)]
pub(crate) struct Standin {
    /// By owner and name.
    repositories: BTreeMap<String, Repository>,
    /// Answers everybody 401 but who brings [`TOKEN`].
    closed: bool,
    /// Ends the next answer with a large file after so many bytes.
    break_after: Mutex<Option<usize>>,
    /// Names the large file by another sum than its own.
    lies: bool,
    /// Every `range` that was asked for.
    ranges: Mutex<Vec<String>>,
}

impl Standin {
    /// With one repository, `owner/tiny`.
    pub(crate) fn new() -> Self {
        let index = json!({ "_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
            "safety_checker": ["x", "y"] });
        let files = [
            ("README.md", b"read me".to_vec()),
            ("model_index.json", index.to_string().into_bytes()),
            ("unet/config.json", b"{}".to_vec()),
            (LARGE, (0..300_000_u32).flat_map(u32::to_le_bytes).collect()),
            ("unet/diffusion_pytorch_model.bin", b"a pickle".to_vec()),
            ("safety_checker/model.safetensors", b"unused".to_vec()),
        ];
        let files = files.map(|(path, bytes)| (path.to_owned(), bytes)).into();
        Self::with([("owner/tiny".to_owned(), files)])
    }

    pub(crate) fn with(repositories: impl IntoIterator<Item = (String, Repository)>) -> Self {
        Self { repositories: repositories.into_iter().collect(), ..Self::default() }
    }

    /// Lets nobody in without [`TOKEN`].
    pub(crate) fn closed(self) -> Self {
        Self { closed: true, ..self }
    }

    pub(crate) async fn start(self) -> (String, Arc<Standin>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let standin = Arc::new(self);
        let shared = standin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let standin = shared.clone();
                let service = service_fn(move |request| {
                    let answer = standin.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move {
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (format!("http://{address}"), standin)
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let token = request
            .headers()
            .get("authorization")
            .and_then(|header| header.to_str().ok()?.strip_prefix("Bearer "));
        if self.closed && token != Some(TOKEN) {
            return status(StatusCode::UNAUTHORIZED);
        }
        // owner/name/tree/REVISION, owner/name/revision/REVISION or owner/name/resolve/REVISION/FILE
        let (path, is_api) = match path.strip_prefix("/api/models/") {
            Some(path) => (path, true),
            None => (path.trim_start_matches('/'), false),
        };
        let parts: Vec<&str> = path.splitn(5, '/').collect();
        let name = parts[..parts.len().min(2)].join("/");
        let Some(files) = self.repositories.get(&name) else { return status(StatusCode::NOT_FOUND) };
        let is_commit = |revision: &&str| revision.len() == COMMIT.len();
        let commit = parts.get(3).copied().filter(is_commit).unwrap_or(COMMIT);
        match (is_api, parts.get(2), parts.get(4)) {
            (true, Some(&"tree"), _) => json_answer(&tree(files)),
            (true, ..) => json_answer(&json!({ "id": name, "sha": commit })),
            (false, _, Some(file)) => match files.get_key_value(*file) {
                Some((file, bytes)) => self.file(request, commit, file, bytes),
                None => status(StatusCode::NOT_FOUND),
            },
            (false, ..) => status(StatusCode::NOT_FOUND),
        }
    }

    fn file(&self, request: &Request<Incoming>, commit: &str, name: &str, bytes: &[u8]) -> Response<Body> {
        let etag = if self.lies && name == LARGE { sum(b"something else") } else { sum(bytes) };
        let range = request.headers().get("range").map(|range| range.to_str().unwrap().to_owned());
        let start =
            range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
        let rest = &bytes[start.unwrap_or(0)..];
        let builder = Response::builder()
            .header("etag", format!("\"{etag}\""))
            .header("x-repo-commit", commit)
            .header("content-length", rest.len())
            .status(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
        self.ranges.lock().unwrap().extend(range);
        let is_get = request.method() == Method::GET && name == LARGE;
        let cut = if is_get { self.break_after.lock().unwrap().take() } else { None };
        let piece = Ok(Frame::data(Bytes::copy_from_slice(&rest[..cut.unwrap_or(rest.len())])));
        let broken = cut.map(|_| Err(std::io::Error::other("broken off")));
        let pieces = futures::stream::iter([piece].into_iter().chain(broken));
        builder.body(StreamBody::new(pieces).boxed_unsync()).unwrap()
    }
}

fn tree(files: &Repository) -> serde_json::Value {
    let entry = |(path, bytes): (&String, &Vec<u8>)| {
        let is_large = path.ends_with(".safetensors") || path.ends_with(".gguf");
        let lfs = is_large.then(|| json!({ "oid": sum(bytes), "size": bytes.len(), "pointerSize": 1 }));
        json!({ "type": "file", "oid": "0", "size": bytes.len(), "path": path, "lfs": lfs })
    };
    files.iter().map(entry).collect()
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn status(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(whole("")).unwrap()
}

fn json_answer(value: &serde_json::Value) -> Response<Body> {
    Response::builder().header("content-type", "application/json").body(whole(value.to_string())).unwrap()
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn wanted() -> Wanted {
    Wanted::pipeline(HubRepo::parse("hub:owner/tiny").unwrap())
}

async fn pull(hub: &Hub) -> Result<Pulled, HubError> {
    Ok(hub.pull(&[wanted()], &|_| {}).await?.remove(0))
}

async fn cached(hub: &Hub) -> Option<PathBuf> {
    Some(hub.cached(&wanted()).await?.folder)
}

pub(crate) fn hub(endpoint: &str, cache: &Path, offline: bool) -> Hub {
    let options =
        HubOptions { endpoint: Some(endpoint.into()), cache_dir: Some(cache.into()), offline, token: None };
    Hub::new(options).unwrap()
}

#[tokio::test]
async fn a_pull_takes_what_a_pipeline_reads_and_is_found_in_the_cache() {
    let (endpoint, standin) = Standin::new().start().await;
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&endpoint, cache.path(), false);
    assert_eq!(cached(&hub).await, None);
    let seen = Mutex::new(Vec::new());
    let pulled = hub.pull(&[wanted()], &|progress| seen.lock().unwrap().push(progress)).await;
    let pulled = pulled.unwrap().remove(0);
    assert_eq!((pulled.files, pulled.commit.as_str()), (3, COMMIT));
    assert_eq!(cached(&hub).await, Some(pulled.folder.clone()));
    assert!(pulled.folder.join(LARGE).is_file() && pulled.folder.join("unet/config.json").is_file());
    assert!(!pulled.folder.join("unet/diffusion_pytorch_model.bin").exists());
    assert!(!pulled.folder.join("safety_checker").exists() && !pulled.folder.join("README.md").exists());
    let last = seen.lock().unwrap().last().copied();
    assert_eq!(last, Some(Progress { done: pulled.bytes, total: pulled.bytes }));
    // everything is here: a second pull fetches nothing, and one that may not ask anybody finds it
    let fetched = standin.ranges.lock().unwrap().len();
    pull(&hub).await.unwrap();
    assert_eq!(standin.ranges.lock().unwrap().len(), fetched);
    let offline = pull(&self::hub("http://127.0.0.1:1", cache.path(), true)).await.unwrap();
    assert_eq!((offline.commit.as_str(), offline.files, offline.bytes), (COMMIT, pulled.files, pulled.bytes));
}

#[tokio::test]
async fn one_file_of_a_repository_is_pulled_alone_and_found_without_a_hub() {
    let files = ["README.md", "tiny.Q4_0.gguf", "tiny.Q8_0.gguf"];
    let files = files.map(|name| (name.to_owned(), name.repeat(1_000).into_bytes())).into();
    let (endpoint, _) = Standin::with([("owner/words".to_owned(), files)]).start().await;
    let cache = tempfile::tempdir().unwrap();
    let wanted = |text| [Wanted::of(HubSource::parse(text).unwrap())];
    let quarter = wanted("hub:owner/words:tiny.Q4_0.gguf");
    let online = hub(&endpoint, cache.path(), false);
    let pulled = online.pull(&quarter, &|_| {}).await.unwrap().remove(0);
    assert_eq!((pulled.files, pulled.bytes), (1, 14_000));
    let found = hub("http://127.0.0.1:1", cache.path(), true).cached(&quarter[0]).await.unwrap();
    assert!(found.folder.join("tiny.Q4_0.gguf").is_file() && !found.folder.join("tiny.Q8_0.gguf").exists());
    assert_eq!(online.cached(&wanted("hub:owner/words:tiny.Q8_0.gguf")[0]).await, None);
    let error = online.pull(&wanted("hub:owner/words:other.gguf"), &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("holds no other.gguf"), "{error}");
}

#[tokio::test]
async fn a_pull_that_broke_off_goes_on_where_it_stopped() {
    let standin = Standin { break_after: Mutex::new(Some(500_000)), ..Standin::new() };
    let (endpoint, standin) = standin.start().await;
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&endpoint, cache.path(), false);
    let error = pull(&hub).await.unwrap_err();
    assert_eq!(cached(&hub).await, None, "{error}");
    let pulled = pull(&hub).await.unwrap();
    assert_eq!(std::fs::read(pulled.folder.join(LARGE)).unwrap(), standin.repositories["owner/tiny"][LARGE]);
    let ranges = standin.ranges.lock().unwrap().clone();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(ranges[0].starts_with("bytes=0-") && !ranges[1].starts_with("bytes=0-"), "{ranges:?}");
}

#[tokio::test]
async fn a_file_that_is_not_what_was_announced_is_not_kept() {
    let (endpoint, _) = Standin { lies: true, ..Standin::new() }.start().await;
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&endpoint, cache.path(), false);
    let error = pull(&hub).await.unwrap_err();
    assert!(matches!(&error, HubError::Damaged { file, .. } if file == LARGE), "{error}");
    let blobs = cache.path().join("models--owner--tiny/blobs");
    let large = std::fs::read_dir(blobs)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().metadata().unwrap().len() > 1_000);
    assert_eq!(large.count(), 0);
}

#[tokio::test]
async fn a_closed_repository_asks_for_a_token_and_an_offline_hub_for_nothing() {
    let (endpoint, _) = Standin::new().closed().start().await;
    let cache = tempfile::tempdir().unwrap();
    let error = pull(&hub(&endpoint, cache.path(), false)).await.unwrap_err().to_string();
    assert!(error.contains("HF_TOKEN"), "{error}");
    let error = pull(&hub("http://127.0.0.1:1", cache.path(), true)).await.unwrap_err().to_string();
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
}
