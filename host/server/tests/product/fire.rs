//! A handler that is replaced a hundred times while requests keep coming, with files cut short and builds that do not
//! load in between: nobody may notice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep};

use crate::client::{DEADLINE, get};
use crate::host::{Host, guest, replaced};

const SWAPS: usize = 100;
/// Between two swaps at least.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two requests: 200 a second, or as many as the machine has time for.
const BEAT: Duration = Duration::from_millis(5);
/// What the guest puts at both ends of its answers, in its two builds.
const STAMPS: [&str; 2] = ["stamp-of-build-one", "stamp-of-build-two"];

/// Requests at a steady rate.
struct Load {
    stop: Arc<AtomicBool>,
    beats: tokio::task::JoinHandle<[usize; 2]>,
}

impl Load {
    fn start(edge: SocketAddr) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let beats = tokio::spawn(async move {
            let (mut beat, mut requests) = (interval(BEAT), JoinSet::new());
            // a machine that cannot keep up asks less often, and not all at once later
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut seen = [0; 2];
            while !stopped.load(Ordering::Relaxed) {
                beat.tick().await;
                requests.spawn(ask(edge));
                while let Some(build) = requests.try_join_next() {
                    seen[build.unwrap()] += 1;
                }
            }
            for build in requests.join_all().await {
                seen[build] += 1;
            }
            seen
        });
        Load { stop, beats }
    }

    /// Answers of each build.
    async fn end(self) -> [usize; 2] {
        self.stop.store(true, Ordering::Relaxed);
        self.beats.await.unwrap()
    }
}

/// Which build answered, when the answer is whole and all of one build.
async fn ask(edge: SocketAddr) -> usize {
    let answer = get(edge, "/stamped").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let text = answer.text();
    let build = STAMPS.iter().position(|stamp| text.starts_with(stamp)).expect("no stamp");
    let stamp = STAMPS[build];
    let between = text.strip_prefix(stamp).and_then(|text| text.strip_suffix(stamp));
    assert!(between.is_some_and(|text| text.len() == 20_000), "torn: {} bytes for {stamp}", text.len());
    build
}

async fn until_answered_by(host: &Host, build: usize) {
    let end = Instant::now() + DEADLINE;
    while ask(host.edge).await != build {
        assert!(Instant::now() < end, "{} never answers", STAMPS[build]);
    }
}

/// What a careless deploy leaves: the file cut short where it lies, then a component that is none.
async fn bungle(host: &Host, code: &[u8]) {
    std::fs::write(host.folder.path().join("live.wasm"), &code[..code.len() / 2]).unwrap();
    sleep(PAUSE / 2).await;
    let mut broken = code.to_vec();
    let middle = code.len() / 2;
    broken[middle..middle + 4_096].fill(0xff);
    host.put("live.wasm", &broken);
    sleep(PAUSE / 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_swaps_under_200_requests_a_second_lose_none_and_mix_no_answer() {
    let one = guest("plain2");
    let builds = [one.clone(), replaced(&one, STAMPS[0].as_bytes(), STAMPS[1].as_bytes())];
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("live.wasm"), &builds[0]).unwrap();
    let room = "[server]\nlog = \"warn\"\nmax-connections-per-ip = 4_096\nmax-waiting = 1_000\n";
    let route = "[[route]]\nname = \"live\"\npath = \"/\"\ncomponent = \"live.wasm\"\n";
    let host = Host::with(folder, Some(&format!("{room}{route}"))).await;
    let (load, began) = (Load::start(host.edge), Instant::now());
    for swap in 1..=SWAPS {
        let (build, pause) = (swap % 2, Instant::now() + PAUSE);
        if swap % 5 == 0 {
            bungle(&host, &builds[build]).await;
        }
        host.put("live.wasm", &builds[build]);
        until_answered_by(&host, build).await;
        tokio::time::sleep_until(pause).await;
    }
    let seen = load.end().await;
    let (asked, took) = (seen[0] + seen[1], began.elapsed().as_secs_f64());
    println!(
        "{asked} requests, {:.0} a second, over {SWAPS} swaps: 0 failed, {seen:?} by build",
        asked as f64 / took
    );
    assert!(seen.iter().all(|seen| *seen >= SWAPS), "both builds were at work: {seen:?}");
    let status = host.status().await;
    assert!(status["reload"]["failures"].as_u64() >= Some(SWAPS as u64 / 5), "{status:#}");
}
