//! Recordings under random damage: whatever comes is decoded or refused with an error. Nothing hangs, or takes much more memory
//! than the recording has, and nothing of ours panics. Where a codec of somebody else's does, the sandbox makes an error of it,
//! so that it counts as refused here.
//!
//! Damage knows a little of the formats: numbers become such as break sums and products, headers are hit as often as
//! sound, and the checksums of Ogg are mended so that what is behind them is reached. `ATELIER_FUZZ_SECONDS` says how long it goes
//! on (a small number of cases without it), and `ATELIER_FUZZ_SEED` repeats a run that failed.

#[path = "recordings/files.rs"]
#[expect(dead_code, reason = "shared with the recordings' tests, which make more kinds of files")]
mod files;

use std::panic::{catch_unwind, set_hook};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use files::{FILES, LIMITS, decode, read, with_pages};
use peak_alloc::PeakAlloc;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// Cases where no time is given.
const CASES: u64 = 2_500;
/// What one case may take at its widest; the files have some kilobytes and a second of sound.
const MAX_BYTES: usize = 64 << 20;
/// Far more than any case takes; a case that hangs must not do so for ever.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Headers are within so many bytes.
const HEADERS: usize = 700;
/// Numbers at which something overflows, wraps or ends.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 31, 255, 65_536, i32::MAX as u64, u32::MAX as u64, 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX];

/// The source file of the last panic.
static PANICKED_IN: Mutex<String> = Mutex::new(String::new());

/// Whether the last panic was in this crate; others are named by where they were fetched to.
fn is_ours() -> bool {
    PANICKED_IN.lock().unwrap_or_else(PoisonError::into_inner).contains("components/media")
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A place in `bytes`, half of the time among the headers.
    fn place(&mut self, bytes: &[u8]) -> usize {
        let reach = if self.below(2) == 0 { bytes.len().min(HEADERS) } else { bytes.len() };
        self.below(reach)
    }
}

/// Writes a number or a bit over what is there.
fn overwrite(bytes: &mut [u8], random: &mut Random) {
    let at = random.place(bytes);
    match random.below(3) {
        _ if bytes.is_empty() => {}
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        _ => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            let size = [1, 2, 4, 8][random.below(4)].min(bytes.len() - at);
            let number = if random.below(2) == 0 {
                number.to_le_bytes()
            } else {
                (number << (64 - 8 * size)).to_be_bytes()
            };
            bytes[at..at + size].copy_from_slice(&number[..size]);
        }
    }
}

/// Changes bytes in one of the ways that files break.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.place(bytes);
    let end = (at + 1 + random.below(40)).min(bytes.len());
    match random.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at.min(end)..end)),
        2 => {
            let again = bytes[at.min(end)..end].to_vec();
            bytes.splice(at..at, again);
        }
        _ => overwrite(bytes, random),
    }
}

fn damaged(file: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = read(file);
    let times = 1 + random.below(4);
    if file.ends_with(".ogg") && random.below(3) > 0 {
        let page = random.below(5);
        return with_pages(&bytes, |index, bytes| {
            if index == page || index == 1 {
                (0..times).for_each(|_| overwrite(bytes, random));
            }
        });
    }
    (0..times).for_each(|_| damage(&mut bytes, random));
    bytes
}

/// Whether the file was refused. What is decoded holds what always holds.
fn is_refused(bytes: &[u8]) -> bool {
    let Ok(found) = decode(bytes) else { return true };
    let most = LIMITS.max_seconds as usize * 16_000;
    assert!((1..=most).contains(&found.samples.len()), "{} samples", found.samples.len());
    assert!(found.samples.iter().all(|sample| sample.is_finite()));
    false
}

#[test]
fn recordings_under_damage_are_decoded_or_refused() {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seconds = variable("ATELIER_FUZZ_SECONDS").map(Duration::from_secs);
    let clock = || UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64;
    let first = variable("ATELIER_FUZZ_SEED").unwrap_or_else(|| if seconds.is_some() { clock() } else { 1 });
    let (began, mut cases, mut refused, mut panicked) = (Instant::now(), 0, 0, 0);
    set_hook(Box::new(|panic| {
        println!("{panic}");
        let file = panic.location().map(|location| location.file().to_owned());
        *PANICKED_IN.lock().unwrap_or_else(PoisonError::into_inner) = file.unwrap_or_default();
    }));
    while seconds.map_or(cases < CASES, |seconds| began.elapsed() < seconds) {
        let seed = first.wrapping_add(cases);
        let mut random = Random(seed);
        let (file, _) = FILES[random.below(FILES.len())];
        let repeat = format!("ATELIER_FUZZ_SEED={seed} repeats it first");
        let bytes = damaged(file, &mut random);
        let (started, before) = (Instant::now(), PEAK.current_usage());
        PEAK.reset_peak_usage();
        let answer = catch_unwind(|| is_refused(&bytes));
        let grown = PEAK.peak_usage().saturating_sub(before);
        let is_refused = answer.unwrap_or_else(|_| {
            assert!(!is_ours(), "{file}: a case panicked; {repeat}");
            panicked += 1;
            true
        });
        assert!(grown <= MAX_BYTES, "{file}: a case took {grown} bytes; {repeat}");
        assert!(started.elapsed() <= MAX_TIME, "{file}: a case took {:?}; {repeat}", started.elapsed());
        refused += u64::from(is_refused);
        cases += 1;
    }
    println!(
        "{cases} cases from seed {first}, {refused} refused, {panicked} of them by a panic of a codec's"
    );
    assert!(
        (cases / 10..cases).contains(&refused),
        "{refused} of {cases} refused: the damage misses its mark"
    );
}
