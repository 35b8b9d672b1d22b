//! The front doors for files that strangers made (safetensors, GGUF, tokenizers) under random damage: whatever comes is
//! read or refused with an error that names the file. Nothing panics, hangs, or takes much more memory than the file has.
//!
//! Damage knows the formats: numbers become such as break sums and products, JSON changes node by node, lengths are often
//! mended so that the damage behind them is reached. `ATELIER_FUZZ_SECONDS` says how long each door is tried (a small
//! number of cases without it), and `ATELIER_FUZZ_SEED` repeats a run that failed.

#[path = "front_doors/forge.rs"]
#[expect(dead_code, reason = "shared with damaged.rs, which makes more kinds of files")]
mod forge;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use atelier_engine::converse::ChatModel;
use atelier_engine::tokenizer::WhisperTokenizer;
use atelier_engine::{Error, ModelFiles};
use atelier_inference::chat::{Role, Turn};
use atelier_inference::{ModelCard, ModelId};
use forge::{Folder, Gguf, list, text};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// Cases for each door where no time is given.
const CASES: usize = 400;
/// What one case may take at its widest; the files have a few kilobytes, and the tokenizer library builds tables.
const MAX_BYTES: usize = 64 << 20;
/// Far more than any case takes; a case that hangs must not do so for ever.
const MAX_TIME: Duration = Duration::from_secs(30);
/// Numbers at which something overflows, wraps or ends.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    3,
    31,
    255,
    65_536,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 32,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// One door at a time: memory is counted for the whole process.
static DOOR: Mutex<()> = Mutex::new(());

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

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// Gives cases to `run` until the time or their number is up. What `run` returns is the refusal, if it was one; it must
/// name `file`.
fn try_door(file: &str, mut case: impl FnMut(&mut Random) -> Result<(), String>) {
    let _alone = DOOR.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = variable("ATELIER_FUZZ_SECONDS");
    let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let first = variable("ATELIER_FUZZ_SEED").unwrap_or_else(|| if seconds.is_some() { clock() } else { 1 });
    let (began, mut cases, mut refused) = (Instant::now(), 0, 0);
    let goes_on = |cases: usize| match seconds {
        Some(seconds) => began.elapsed() < Duration::from_secs(seconds),
        None => cases < CASES,
    };
    while goes_on(cases) {
        let seed = first.wrapping_add(cases as u64);
        let repeat = || format!("ATELIER_FUZZ_SEED={seed} repeats it first");
        let (started, before) = (Instant::now(), PEAK.current_usage());
        PEAK.reset_peak_usage();
        let answer = catch_unwind(AssertUnwindSafe(|| case(&mut Random(seed))));
        let grown = PEAK.peak_usage().saturating_sub(before);
        let answer = answer.unwrap_or_else(|_| panic!("{file}: a case panicked; {}", repeat()));
        assert!(grown <= MAX_BYTES, "{file}: a case took {grown} bytes; {}", repeat());
        assert!(started.elapsed() <= MAX_TIME, "{file}: a case took {:?}; {}", started.elapsed(), repeat());
        if let Err(error) = answer {
            assert!(error.contains(file), "{file} is not named: {error}; {}", repeat());
            refused += 1;
        }
        cases += 1;
    }
    println!("{file}: {cases} cases from seed {first}, {refused} refused");
    assert!(
        refused > cases / 4 && refused < cases,
        "{refused} of {cases} refused: the damage misses its mark"
    );
}

/// Bytes changed in one of the ways that files break.
fn damage_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    let end = (at + 1 + random.below(24)).min(bytes.len());
    match random.below(7) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at.min(end)..end)),
        4 => {
            let again = bytes[at.min(end)..end].to_vec();
            bytes.splice(at..at, again);
        }
        5 => bytes.extend((0..random.below(40)).map(|index| index as u8)),
        // a number in place of what is there
        _ => {
            let number = random.pick(&NUMBERS).to_le_bytes();
            let size = random.pick(&[1, 4, 8]).min(bytes.len() - at);
            bytes[at..at + size].copy_from_slice(&number[..size]);
        }
    }
}

/// A node somewhere in `value` replaced, removed or put there twice.
fn damage_json(value: &mut Value, random: &mut Random) {
    let stays = random.below(4) > 0;
    match value {
        Value::Array(list) if !list.is_empty() && stays => {
            let at = random.below(list.len());
            match random.below(8) {
                0 => drop(list.remove(at)),
                1 => list.push(list[at].clone()),
                _ => damage_json(&mut list[at], random),
            }
        }
        Value::Object(map) if !map.is_empty() && stays => {
            let key = map.keys().nth(random.below(map.len())).cloned().unwrap_or_default();
            match random.below(8) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(strange_text(random), map[&key].clone())),
                _ => damage_json(&mut map[&key], random),
            }
        }
        _ => *value = strange(random),
    }
}

fn strange(random: &mut Random) -> Value {
    match random.below(9) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(random.next() as f64 / 7.0),
        4 | 5 => json!(random.pick(&NUMBERS)),
        6 => json!(strange_text(random)),
        7 => (0..random.below(200)).fold(json!([]), |inner, _| json!([inner])),
        _ => json!({"type": strange_text(random)}),
    }
}

fn strange_text(random: &mut Random) -> String {
    let texts =
        ["", " ", "\u{e9}", "</w>", "a b", "(a+)+$", "\0", "F64", "BPE", "__metadata__", "<|endoftext|>"];
    let text = random.pick(&texts);
    if random.below(10) == 0 { text.repeat(5_000) } else { text.into() }
}

/// Text with damage of one kind or the other.
fn damaged_text(text: &str, random: &mut Random) -> Vec<u8> {
    let parsed: Result<Value, _> = serde_json::from_str(text);
    let mut bytes = match parsed {
        Ok(mut value) if random.below(4) > 0 => {
            (0..=random.below(3)).for_each(|_| damage_json(&mut value, random));
            value.to_string().into_bytes()
        }
        _ => text.into(),
    };
    if random.below(3) == 0 {
        (0..=random.below(3)).for_each(|_| damage_bytes(&mut bytes, random));
    }
    bytes
}

#[test]
fn safetensors_under_damage_are_read_or_refused() {
    let folder = Folder::new();
    let header = json!({
        "__metadata__": {"format": "pt"},
        "a.weight": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]},
        "b.weight": {"dtype": "F16", "shape": [3], "data_offsets": [32, 38]},
        "c.bias": {"dtype": "BF16", "shape": [1, 1, 5], "data_offsets": [38, 48]},
        "d": {"dtype": "I64", "shape": [], "data_offsets": [48, 56]},
    });
    let without = |key: &str| {
        let mut header = header.clone();
        header.as_object_mut().map(|map| map.shift_remove(key));
        header.to_string()
    };
    let headers = [without("d"), without("d"), header.to_string()];
    try_door("model.safetensors", |random| {
        let header = random.pick(&headers);
        let damaged = if random.below(6) == 0 { header.into_bytes() } else { damaged_text(&header, random) };
        let length = if random.below(8) == 0 { random.pick(&NUMBERS) } else { damaged.len() as u64 };
        let mut data = vec![0; 48 + 8 * random.below(2)];
        if random.below(6) == 0 {
            damage_bytes(&mut data, random);
        }
        folder.set("model.safetensors", &[length.to_le_bytes().as_slice(), &damaged, &data].concat());
        folder.read_weights("model.safetensors").map(drop)
    });
}

#[test]
fn gguf_under_damage_is_read_or_refused() {
    let folder = Folder::new();
    let whole = Gguf::new()
        .entry(b"general.architecture", 8, &text(b"flux"))
        .entry(b"general.alignment", 4, &32u32.to_le_bytes())
        .entry(b"tokens", 9, &list(8, 2, &[text(b"a"), text(b"b")].concat()))
        .entry(b"nested", 9, &list(9, 1, &list(5, 3, &[1; 12])))
        .tensor("a.weight", &[32, 2], 8, 0)
        .tensor("b.weight", &[4, 2, 1, 1], 0, 96)
        .tensor("c.weight", &[256], 14, 128)
        .tensor("d.weight", &[8], 30, 352);
    let plain = Gguf::new().tensor("a.weight", &[8], 1, 0);
    let files = [whole.data(&[60; 384]).bytes(), plain.data(&[1; 32]).bytes()];
    try_door("model.gguf", |random| {
        let mut bytes = random.pick(&files);
        (0..random.below(5)).for_each(|_| damage_bytes(&mut bytes, random));
        folder.set("model.gguf", &bytes);
        folder.read_weights("model.gguf").map(drop)
    });
}

#[test]
fn tokenizers_under_damage_are_read_or_refused() {
    const PROMPT: &str = "a photo of a cat, Caf\u{e9} 3.14 <|endoftext|> \u{1f431} \0";
    let (vocabulary, merges) = forge::vocabulary();
    let one = forge::tokenizer_json();
    let configuration =
        r#"{"model_max_length": 77, "pad_token": {"content": "!"}, "bos_token": "<|startoftext|>"}"#;
    try_door("tokenizer", |random| {
        let folder = Folder::new();
        match random.below(4) {
            0 => folder.set("tokenizer/tokenizer.json", &damaged_text(&one, random)),
            kind => {
                let (mut words, mut pairs) = (vocabulary.clone().into_bytes(), merges.clone().into_bytes());
                match kind {
                    1 => words = damaged_text(&vocabulary, random),
                    2 => damage_bytes(&mut pairs, random),
                    _ => folder.set("tokenizer/tokenizer_config.json", &damaged_text(configuration, random)),
                }
                folder.set("tokenizer/vocab.json", &words);
                folder.set("tokenizer/merges.txt", &pairs);
            }
        }
        folder.encode(PROMPT).map(drop)
    });
}

#[test]
fn whispers_tokenizers_under_damage_are_read_or_refused() {
    const PROMPT: &str = " create a red circle, Caf\u{e9} 3.14 <|endoftext|> \u{1f431} \0";
    const NAME: &str = "tokenizer.json";
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/whisper/english/tokenizer.json");
    let whole = std::fs::read_to_string(fixture).unwrap();
    try_door(NAME, |random| {
        let damaged = damaged_text(&whole, random);
        let folder = Folder::new().with(NAME, &damaged);
        let tokenizer = WhisperTokenizer::open(&folder.files()).map_err(|error| error.to_string())?;
        let ids = tokenizer.ids(PROMPT, NAME).map_err(|error| error.to_string())?;
        // what its words have become may be any, and is a part of the file
        assert!(ids.iter().all(|id| tokenizer.bytes(*id).len() <= damaged.len()));
        assert!(tokenizer.text(&ids).len() <= 3 * damaged.len() * ids.len());
        Ok(())
    });
}

/// What a language model's files say without its weights, and a conversation as it would be written down.
fn describe_language(files: &ModelFiles, name: &str) -> Result<(), String> {
    read_language(files).map_err(|error| match error {
        // a key is named, and the engine puts the model's name around it; a template may refuse the conversation
        Error::Unsupported { .. } | Error::Invalid { .. } => format!("{name}: {error}"),
        error => error.to_string(),
    })
}

fn read_language(files: &ModelFiles) -> Result<(), Error> {
    let card = ModelCard {
        id: ModelId::new("damaged"),
        family: String::new(),
        source: String::new(),
        description: String::new(),
        memory_bytes: 0,
        device: "cpu".into(),
    };
    ChatModel::describe(files, card)?;
    let model = ChatModel::open(files, &candle_core::Device::Cpu)?;
    let text = "create a red circle, Caf\u{e9} 3.14 <|im_end|> \u{1f431} \0".to_string();
    let written = model.wording().render(&[Turn { role: Role::User, text }], true)?;
    let tokenizer = model.wording().tokenizer();
    let ids = tokenizer.ids(&written, None)?;
    // what text has become may be any, and is a part of the file
    assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary()));
    Ok(())
}

#[test]
fn gguf_files_of_language_models_under_damage_are_read_or_refused() {
    const NAME: &str = "tiny.gguf";
    for family in ["qwen3", "gemma2"] {
        let fixture = format!("{}/tests/golden/language/{family}/gguf/{NAME}", env!("CARGO_MANIFEST_DIR"));
        let whole = std::fs::read(fixture).unwrap();
        // the header: keys, vocabulary, template, tensors' descriptions
        let header = whole.len() / 2;
        try_door(NAME, |random| {
            let (mut bytes, rest) = (whole[..header].to_vec(), &whole[header..]);
            (0..=random.below(2)).for_each(|_| damage_bytes(&mut bytes, random));
            let folder = Folder::new().with(NAME, &[bytes.as_slice(), rest].concat());
            describe_language(&folder.files(), NAME)
        });
    }
}

#[test]
fn folders_of_language_models_under_damage_are_read_or_refused() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/language/gemma3/published");
    let names = [
        "config.json",
        "tokenizer.json",
        "generation_config.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ];
    let read = |name: &str| std::fs::read_to_string(format!("{fixture}/{name}")).unwrap();
    let texts = names.map(read);
    let weights = std::fs::read(format!("{fixture}/model.safetensors")).unwrap();
    let folder = Folder::new().with("model.safetensors", &weights);
    // any of the files is at fault, all in one folder
    let place = folder.path().file_name().unwrap().to_str().unwrap().to_string();
    try_door(&place, |random| {
        // the first two say most
        let chosen = random.pick(&[0, 0, 0, 1, 1, 2, 3, 4]);
        for (place, (name, text)) in names.iter().zip(&texts).enumerate() {
            let bytes = if place == chosen { damaged_text(text, random) } else { text.clone().into_bytes() };
            folder.set(name, &bytes);
        }
        describe_language(&folder.files(), &place)
    });
}
