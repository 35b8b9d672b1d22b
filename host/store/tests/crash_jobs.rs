//! No job that was acknowledged is lost, none is completed twice, and everybody who wants to know of its end is told, whenever
//! the process is killed: 50 jobs, of which ten are the same work that is done by one at a time, 20 kills at moments that nobody
//! chose. This program is both sides: with a folder as its argument it submits and works off there and
//! says what was acknowledged, until it is killed; without one it starts itself so, kills, and looks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use atelier_store::{
    Caching, JobEnd, JobOrder, JobPriority, JobState, MAX_ATTEMPTS, Occasion, Outbox, Owner, Sent, Storage,
    StorageConfig, Taken, Webhook,
};

const KILLS: u64 = 20;
const JOBS: u64 = 50;
/// From this number on, jobs are the same work.
const SAME: u64 = 40;
const MAKER: &str = "this program";
/// Whether somebody does that work in this life.
static AT_WORK: Mutex<bool> = Mutex::new(false);
/// Says to this program that it is the one to be killed, and which life this is.
const WORKER: &str = "ATELIER_STORE_CRASH_JOBS_FOLDER";
const LIFE: &str = "ATELIER_STORE_CRASH_JOBS_LIFE";
const ROUTE: &str = "/jobs";
const LEASE: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    match std::env::var_os(WORKER) {
        Some(folder) => live(Path::new(&folder)).await,
        None => check().await,
    }
}

fn open(dir: &Path) -> Storage {
    Storage::open(dir, StorageConfig::default()).unwrap()
}

fn owner() -> Owner {
    Owner::new("a", None)
}

fn say(words: &str, id: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{words} {id}").and_then(|()| out.flush()).unwrap();
}

fn order(number: u64) -> JobOrder {
    JobOrder {
        kind: "paint".into(),
        payload: number.min(SAME).to_string().into_bytes(),
        key: Some(format!("job {number}")),
        priority: JobPriority::Normal,
        start_within: Duration::from_secs(3_600),
        keep: Duration::from_secs(3_600),
        attempts: MAX_ATTEMPTS,
        webhook: Some(Webhook {
            url: "https://a.test/told".into(),
            receiver: format!("https://{}.test", number % 3),
            occasions: vec![Occasion::Ended],
        }),
        // brief: most of them are done once more
        cache: (number >= SAME).then(|| Caching {
            within: Duration::from_millis(30),
            tools: Vec::new(),
            made_by: MAKER.into(),
        }),
    }
}

/// Submits a part of all jobs, some of them again, while two workers work off what there is.
async fn live(dir: &Path) {
    let (storage, life) = (open(dir), std::env::var(LIFE).unwrap().parse::<u64>().unwrap());
    let outbox = storage.outbox();
    say("open", "-");
    let workers: Vec<_> = (0..2).map(|_| tokio::spawn(work(storage.clone()))).collect();
    tokio::spawn(async move { while tell(&outbox).await {} });
    let jobs = storage.jobs(owner(), ROUTE);
    for first in (0..(life + 1) * JOBS / KILLS).step_by(3) {
        let batch = (first..(first + 3).min(JOBS)).map(order).collect();
        for submitted in jobs.submit(batch, 1_000).await.unwrap() {
            say("kept", &submitted.id);
        }
    }
    for worker in workers {
        worker.await.unwrap();
    }
}

async fn work(storage: Storage) {
    loop {
        match storage.job_queue().take(ROUTE, LEASE).await.unwrap() {
            Some(taken) => work_off(taken).await,
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn work_off(mut taken: Taken) {
    let (id, number) = (taken.id().to_owned(), String::from_utf8(taken.payload()).unwrap());
    let number: u64 = number.parse().unwrap();
    let known = taken.known(MAKER).await.unwrap();
    let end = match known {
        Some(known) => JobEnd::Cached(known),
        None => done(number).await,
    };
    taken.is_made_by(MAKER.into());
    let state = taken.end(owner(), end).await.unwrap();
    if state == Some(JobState::Completed) {
        say("completed", &id);
    }
}

async fn done(number: u64) -> JobEnd {
    let at_work = |is_at_work| number == SAME && std::mem::replace(&mut *AT_WORK.lock().unwrap(), is_at_work);
    assert!(!at_work(true), "the same work is done twice at a time");
    tokio::time::sleep(Duration::from_millis(5 + number * 13 % 40)).await;
    at_work(false);
    match number % 10 {
        9 => JobEnd::Failed("on purpose".into()),
        _ => JobEnd::Completed(format!("{number} done").into_bytes()),
    }
}

/// Tells whom there is to tell. A word before and one after, so that whoever listens sees what was told for certain.
async fn tell(outbox: &Outbox) -> bool {
    for delivery in outbox.take().await.unwrap() {
        say("telling", &delivery.job);
        tokio::time::sleep(Duration::from_millis(3)).await;
        outbox.settle(&delivery, Sent::Delivered).await.unwrap();
        say("told", &delivery.job);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    true
}

async fn check() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("storage");
    let (mut kept, mut completed) = (BTreeSet::new(), BTreeMap::<String, u32>::new());
    // for certain; and perhaps, since the word after it may have been lost
    let (mut told, mut heard) = (BTreeSet::new(), BTreeSet::new());
    for life in 0..KILLS {
        for line in killed(&dir, life).await {
            match line.split_once(' ') {
                Some(("kept", id)) => drop(kept.insert(id.to_owned())),
                Some(("telling", id)) => {
                    assert!(!told.contains(id), "{id} was told already");
                    heard.insert(id.to_owned());
                }
                Some(("told", id)) => drop(told.insert(id.to_owned())),
                Some(("completed", id)) => *completed.entry(id.to_owned()).or_default() += 1,
                _ => {}
            }
        }
    }
    let storage = open(&dir);
    // what the last life had no time for
    for number in 0..JOBS {
        let submitted = storage.jobs(owner(), ROUTE).submit(vec![order(number)], JOBS).await.unwrap();
        kept.insert(submitted[0].id.clone());
    }
    assert_eq!(kept.len() as u64, JOBS, "the same keys are the same jobs in every life");
    let outlived = completed.len();
    while let Some(taken) = storage.job_queue().take(ROUTE, LEASE).await.unwrap() {
        assert!(!completed.contains_key(taken.id()), "{} is begun after its end", taken.id());
        work_off(taken).await;
    }
    assert!(completed.values().all(|times| *times == 1), "{completed:?}");
    let mut ends = (0, 0);
    for id in &kept {
        match ended(&storage, id).await {
            JobState::Completed => ends.0 += 1,
            JobState::Failed if !completed.contains_key(id) => ends.1 += 1,
            state => panic!("{id} is {state:?}"),
        }
    }
    assert_eq!((storage.job_queue().running(None), storage.job_queue().waiting().await.unwrap()), (0, 0));
    let outlived_told = told.len();
    loop {
        let deliveries = storage.outbox().take().await.unwrap();
        if deliveries.is_empty() {
            break;
        }
        for delivery in deliveries {
            assert!(told.insert(delivery.job.clone()), "{} was told already", delivery.job);
            heard.insert(delivery.job.clone());
            storage.outbox().settle(&delivery, Sent::Delivered).await.unwrap();
        }
    }
    assert_eq!(heard, kept, "somebody is told of every job");
    assert!(told.len() + KILLS as usize >= kept.len(), "a life loses one word at most");
    println!("of {outlived_told} jobs somebody was told in {KILLS} lives");
    println!("{} jobs completed, {outlived} of them in {KILLS} lives, and {} failed", ends.0, ends.1);
}

/// How a job ended.
async fn ended(storage: &Storage, id: &str) -> JobState {
    let status = storage.jobs(owner(), ROUTE).status(id).await.unwrap();
    let status = status.unwrap_or_else(|| panic!("{id} is lost"));
    assert!(status.attempts <= MAX_ATTEMPTS);
    assert_eq!(status.result.is_some(), status.state == JobState::Completed);
    status.state
}

/// One life, and what it said.
async fn killed(dir: &Path, life: u64) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.env(WORKER, dir).env(LIFE, life.to_string()).stdout(Stdio::piped());
    let mut worker = command.spawn().unwrap();
    let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    // how long a start takes is the machine's affair: a life begins when the folder is open
    lines.next().expect("the worker opens the folder").unwrap();
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_millis(5 + 23 * (life * 7 % 11))).await;
    worker.kill().unwrap();
    worker.wait().unwrap();
    reader.join().unwrap()
}
