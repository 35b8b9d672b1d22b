//! Guests that mean harm to the host itself: to its memory, its stack, its life.

use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{Answer, DEADLINE, get};
use crate::host::{Host, guest};

const MIB: u64 = 1 << 20;
/// How far the host's memory may lie above where it was, once hostile guests are gone; and how far what a single call
/// carries may lift it.
const ROOM: u64 = 64 * MIB;
/// Guests at a time, and how often they come.
const GUESTS: usize = 8;
const WAVES: usize = 5;

/// One route to a guest whose path says what it does.
async fn host(limits: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), guest("plain2")).unwrap();
    let route = "[[route]]\nname = \"a\"\npath = \"/\"\ncomponent = \"guest.wasm\"\n";
    let host = Host::with(folder, Some(&format!("{route}limits = {{ {limits} }}\n"))).await;
    lives(&host).await;
    host
}

async fn lives(host: &Host) {
    let answer = get(host.edge, "/").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "hello from 0.2"));
}

/// So many requests at once, again and again.
async fn waves(host: &Host, path: &str, check: fn(&Answer)) {
    for _ in 0..WAVES {
        let mut wave = JoinSet::new();
        for _ in 0..GUESTS {
            let (edge, path) = (host.edge, path.to_owned());
            wave.spawn(async move { get(edge, &path).await });
        }
        wave.join_all().await.iter().for_each(check);
    }
}

async fn comes_down_to(host: &Host, base: u64) {
    let end = Instant::now() + DEADLINE;
    while host.memory() > base + ROOM {
        let over = (host.memory() - base) / MIB;
        assert!(Instant::now() < end, "still {over} MiB over what it held before");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_guests_took_to_their_limit_comes_back() {
    let host = host("memory-bytes = \"32 MiB\", cpu-ms = 20_000").await;
    let base = host.memory();
    // one is told that there is no more and lives; the other dies of it
    waves(&host, "/fill", |answer| {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let pages: u64 = answer.text().strip_suffix(" pages").unwrap().parse().unwrap();
        assert!((300..512).contains(&pages), "{pages} pages of 64 KiB beside the guest's own, below 32 MiB");
    })
    .await;
    waves(&host, "/grow", |answer| {
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::BAD_GATEWAY, "memory_limit"));
    })
    .await;
    comes_down_to(&host, base).await;
    println!("{} MiB before, {} MiB after", base / MIB, host.memory() / MIB);
    lives(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_carries_more_into_the_host_than_its_limit() {
    let host = host("cpu-ms = 20_000").await;
    let endless = ["field-name", "field-value", "path", "authority", "stdout", "body", "random"];
    // these carry what is really there: 33 MiB in the guest's memory
    let real = ["real-field-value", "scheme", "real-stderr"];
    for bomb in endless.into_iter().chain(real) {
        let base = host.memory();
        host.forget_peak();
        let answer = get(host.edge, &format!("/bomb/{bomb}")).await;
        let (peak, carried) = (host.peak_memory(), if real.contains(&bomb) { 33 * MIB } else { 0 });
        println!("{bomb}: {} MiB at most, {} MiB before", peak / MIB, base / MIB);
        assert!(answer.status.is_server_error(), "{bomb}: {answer:?}");
        assert!(peak < base + carried + ROOM, "{bomb} cost {} MiB", (peak - base) / MIB);
        if real.contains(&bomb) {
            assert!(answer.text().contains("limits.hostcall-bytes"), "{bomb}: {answer:?}");
        }
    }
    lives(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_recurses_without_end_ends_itself_and_nothing_else() {
    let host = host("").await;
    waves(&host, "/recurse", |answer| {
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::BAD_GATEWAY, "guest_trap"));
    })
    .await;
    lives(&host).await;
}
