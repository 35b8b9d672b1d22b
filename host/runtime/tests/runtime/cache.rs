//! Machine code on disk: found again, and not believed once touched.

use std::fs;
use std::path::Path;
use std::time::Duration;

use atelier_runtime::{Runtime, RuntimeConfig, RuntimeMetrics};

use crate::kit::{self, ask, guest, spec};

/// A start of the host with this cache: one route is deployed and answers.
async fn start(dir: &Path) -> RuntimeMetrics {
    let config = RuntimeConfig { cache_dir: Some(dir.into()), ..RuntimeConfig::default() };
    let runtime: Runtime = kit::runtime_with(config, kit::scheduler(Duration::ZERO));
    let route = runtime.deploy(spec(guest("plain2"))).await.unwrap();
    assert_eq!(ask(&route, "/", "").await.unwrap(), "hello from 0.2");
    runtime.metrics()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_start_compiles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cold = start(dir.path()).await;
    assert_eq!((cold.cold_compiles, cold.cache_hits), (2, 0));
    let warm = start(dir.path()).await;
    assert_eq!((warm.cold_compiles, warm.cache_hits), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tampered_file_is_compiled_again_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path()).await;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none() {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            fs::write(&path, bytes).unwrap();
        }
    }
    let tampered = start(dir.path()).await;
    assert_eq!((tampered.cold_compiles, tampered.cache_hits), (2, 0));
    assert_eq!(start(dir.path()).await.cache_hits, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_made_under_another_secret_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path()).await;
    fs::write(dir.path().join("secret.key"), [7; 32]).unwrap();
    assert_eq!(start(dir.path()).await.cache_hits, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_code_in_many_routes_is_compiled_once() {
    let runtime = kit::runtime_with(RuntimeConfig::default(), kit::scheduler(Duration::ZERO));
    let first = runtime.deploy(spec(guest("plain2"))).await.unwrap();
    let second = runtime.deploy(spec(guest("plain2"))).await.unwrap();
    assert_eq!(first.code_digest(), second.code_digest());
    assert_eq!(runtime.metrics().cold_compiles, 2, "the decoder and the handler");
}
