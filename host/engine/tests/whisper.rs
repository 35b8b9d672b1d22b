//! Whisper against transformers and OpenAI's own, for every fixture folder that `golden/make_whisper.py` wrote
//! (`ATELIER_GOLDEN_DIR` names others): the front end, the encoder, the decoder at once and token by token, languages, and
//! whole transcriptions. Then what a transcription promises whatever the model.

#[path = "golden/folder.rs"]
mod folder;
#[path = "golden/worst.rs"]
#[expect(dead_code, reason = "shared with tests that compare other kinds of values")]
mod worst;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use atelier_engine::models::whisper::{FrontEnd, WhisperNetwork, band_sums};
use atelier_engine::transcribe::{TranscribeState, Transcription, Whisper};
use atelier_engine::{CandleEngine, DeviceChoice, EngineConfig, Extras, ModelFiles, ModelSpec};
use atelier_inference::speech::{SAMPLE_RATE, Segment, Word};
use atelier_inference::{Engine, Error, ModelInfo, SpeechModel, SpeechOptions, SpeechOrder, Transcript};
use candle_core::{Device, Tensor};
use folder::Folder;
use serde::Deserialize;
use serde_json::{Map, Value};
use worst::Worst;

const TABLES: f64 = 1e-6;
const ENCODER: f64 = 1e-5;
const DECODER: f64 = 1e-4;
/// Logarithms and probabilities of whole texts, which add up.
const TEXTS: f64 = 1e-4;
/// Of the ratio: implementations of zlib differ by a byte or two, and texts here have a dozen.
const COMPRESSION: f64 = 0.25;

/// A model's folder and what the references made with it.
struct Fixture {
    name: String,
    folder: Folder,
    golden: Golden,
}

#[derive(Deserialize)]
struct Golden {
    /// Of the audio.
    seed: u64,
    /// How likely each is, by code.
    languages: BTreeMap<String, f64>,
    cases: BTreeMap<String, Case>,
    texts: Vec<Text>,
}

/// What was asked, and what OpenAI's whisper answered.
#[derive(Deserialize)]
struct Case {
    /// Options, and how many seconds of audio.
    asked: Map<String, Value>,
    answer: Answer,
}

#[derive(Deserialize)]
struct Answer {
    text: String,
    language: String,
    segments: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    start: f64,
    end: f64,
    text: String,
    tokens: Vec<u32>,
    temperature: f64,
    avg_logprob: f64,
    compression_ratio: f64,
    no_speech_prob: f64,
    #[serde(default)]
    words: Vec<ExpectedWord>,
}

#[derive(Deserialize)]
struct ExpectedWord {
    word: String,
    start: f64,
    end: f64,
    probability: f64,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

/// Every fixture; there is always at least one.
fn all() -> Vec<Fixture> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let root = std::env::var_os("ATELIER_GOLDEN_DIR").map_or(own, PathBuf::from).join("whisper");
    let entries = std::fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(!names.is_empty(), "{} holds no fixtures; run make_whisper.py", root.display());
    names.into_iter().map(Fixture::open).collect()
}

impl Fixture {
    fn open(name: String) -> Self {
        let folder = Folder::open("whisper", &name);
        Self { golden: folder.json(), name, folder }
    }

    fn network(&self) -> WhisperNetwork {
        WhisperNetwork::open(&self.folder.files(), &Device::Cpu).unwrap()
    }

    fn whisper(&self) -> Arc<Whisper> {
        Arc::new(Whisper::open(&self.folder.files(), &Device::Cpu).unwrap())
    }

    /// The model as the catalog describes it.
    fn info(&self) -> ModelInfo {
        let id = self.name.clone();
        let (source, files, extras) = ("test".into(), self.folder.files(), Extras::default());
        let spec = ModelSpec { id, source, files, description: None, extras };
        let config = EngineConfig {
            device: DeviceChoice::Cpu,
            models: vec![spec],
            memory_bytes: None,
            ..EngineConfig::default()
        };
        CandleEngine::new(config).unwrap().models().remove(0)
    }

    fn model(&self) -> Arc<SpeechModel> {
        self.info().speech().unwrap().clone()
    }

    /// A transcription by `whisper`, which is this fixture's.
    fn begin(
        &self,
        whisper: &Arc<Whisper>,
        samples: impl Into<Arc<[f32]>>,
        options: SpeechOptions,
    ) -> Result<Transcription, Error> {
        let order = SpeechOrder::new(samples.into(), options, &self.info())?;
        Ok(whisper.transcribe(Arc::new(order))?)
    }

    /// The options and the audio of a case. What is heard is no voice.
    fn asked(&self, case: &Case) -> (SpeechOptions, Arc<[f32]>) {
        let mut asked = case.asked.clone();
        let seconds = asked.remove("seconds").unwrap().as_f64().unwrap();
        asked.insert("voice_only".into(), false.into());
        let options = serde_json::from_value(Value::Object(asked)).unwrap();
        (options, self.signal(0, (seconds * 16_000.0) as usize).into())
    }

    /// The audio of the generator's `signal`.
    fn signal(&self, offset: u64, samples: usize) -> Vec<f32> {
        let mut state = (self.golden.seed + offset).wrapping_mul(2_654_435_761) as u32;
        state = state.wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            i64::from(state)
        };
        let pieces: Vec<[i64; 3]> = (0..=samples / 1_600)
            .map(|_| next())
            .map(|state| [state >> 8 & 127, state >> 15 & 127, state >> 22 & 7])
            .collect();
        let triangle = |at: i64, period: i64| (at % period * 2 - period).abs() * 2_000 / period - 1_000;
        let sample = |at: usize| {
            let ([first, second, loudness], at) = (pieces[at / 1_600], at as i64);
            let sum = triangle(at, 40 + first) + triangle(at, 9 + second / 4);
            (sum * loudness + (next() >> 16) % 200 - 100) as f32 / 32_768.0
        };
        (0..samples).map(sample).collect()
    }

    /// Two windows of frames, (2, frames, bands), neither of which is full.
    fn windows(&self, network: &WhisperNetwork) -> Tensor {
        let (frames, bands) = (network.config().frames(), network.config().num_mel_bins);
        let front_end = FrontEnd::new(bands);
        let window = |index: usize| {
            let heard = front_end.listen(&self.signal(index as u64, 160 * frames - 800 - 4_000 * index));
            heard.opening(0, frames, &Device::Cpu).unwrap()
        };
        Tensor::cat(&[window(0), window(1)], 0).unwrap()
    }
}

#[test]
fn the_front_end_equals_that_of_transformers() {
    let mut mel = Worst::new("mel", TABLES);
    let mut filters = Worst::new("mel bands", TABLES);
    for fixture in all() {
        let network = fixture.network();
        let expected = fixture.folder.tensor("mel").transpose(1, 2).unwrap().contiguous().unwrap(); // (2, frames, bands)
        let windows = fixture.windows(&network);
        let chosen = windows.index_select(&fixture.folder.tensors["frames"], 1).unwrap();
        mel.compare(fixture.name.as_str(), &chosen, &expected);
        let sums: Vec<f32> =
            band_sums(network.config().num_mel_bins).into_iter().map(|sum| sum as f32).collect();
        let sums = Tensor::new(sums, &Device::Cpu).unwrap();
        filters.compare(fixture.name.as_str(), &sums, &fixture.folder.tensor("filters"));
    }
}

#[test]
fn the_encoder_equals_that_of_transformers_and_a_window_never_knows_of_another() {
    let mut worst = Worst::new("encoder", ENCODER);
    for fixture in all() {
        let network = fixture.network();
        let windows = fixture.windows(&network);
        let states = network.encode(&windows).unwrap();
        let chosen = states.index_select(&fixture.folder.tensors["positions"], 1).unwrap();
        worst.compare(fixture.name.as_str(), &chosen, &fixture.folder.tensor("encoded"));
        let alone = network.encode(&windows.narrow(0, 1, 1).unwrap()).unwrap();
        let same = (alone - states.narrow(0, 1, 1).unwrap()).unwrap().abs().unwrap().sum_all().unwrap();
        assert_eq!(same.to_scalar::<f32>().unwrap(), 0.0, "{}", fixture.name);
    }
}

#[test]
fn the_decoder_equals_that_of_transformers_at_once_and_token_by_token() {
    let mut worst = Worst::new("decoder", DECODER);
    for fixture in all() {
        let network = fixture.network();
        let heard = network.hear(&network.encode(&fixture.windows(&network)).unwrap()).unwrap();
        let (tokens, expected) = (fixture.folder.ids("tokens"), fixture.folder.tensor("logits"));
        let kept: Vec<u32> = (0..network.config().vocab_size as u32).step_by(5).collect();
        let kept = Tensor::new(kept, &Device::Cpu).unwrap();
        for cuts in [&[0, tokens[0].len()][..], &[0, 2, 3, tokens[0].len()], &[0, 1, 2, 3, tokens[0].len()]] {
            let mut texts = network.texts(tokens.len()).unwrap();
            let parts: Vec<Tensor> = cuts
                .windows(2)
                .map(|cut| {
                    let rows: Vec<&[u32]> = tokens.iter().map(|row| &row[cut[0]..cut[1]]).collect();
                    let states = network.extend(&mut texts, &rows, &heard).unwrap();
                    network.logits(&states).unwrap()
                })
                .collect();
            let logits = Tensor::cat(&parts, 1).unwrap().index_select(&kept, 2).unwrap();
            worst.compare(format!("{} {cuts:?}", fixture.name), &logits, &expected);
        }
    }
}

#[test]
fn text_becomes_the_ids_of_the_reference_and_comes_back() {
    for fixture in all() {
        let whisper = fixture.whisper();
        for Text { text, ids } in &fixture.golden.texts {
            assert_eq!(whisper.tokenizer().ids(text, "prompt").unwrap(), *ids, "{}: {text:?}", fixture.name);
            assert_eq!(whisper.tokenizer().text(ids), *text, "{}", fixture.name);
        }
    }
}

#[test]
fn languages_are_as_likely_as_to_the_reference() {
    for fixture in all() {
        let (whisper, model) = (fixture.whisper(), fixture.model());
        let heard = whisper
            .front_end()
            .listen(&fixture.signal(0, (model.window_seconds * SAMPLE_RATE as f64) as usize));
        let found = whisper.recognise_language(&heard, 0).unwrap();
        assert_eq!(found.len(), fixture.golden.languages.len(), "{}", fixture.name);
        assert_eq!(model.languages.len(), found.len());
        for (code, probability) in found {
            let expected = fixture.golden.languages[code];
            assert!(
                (probability - expected).abs() < TEXTS,
                "{} {code}: {probability} {expected}",
                fixture.name
            );
        }
    }
}

#[track_caller]
fn assert_near(place: &str, what: &str, ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance, "{place}: {what} {ours}, not {theirs}");
}

fn compare_words(place: &str, ours: &[Word], theirs: &[ExpectedWord]) {
    let words = |words: &[Word]| words.iter().map(|word| word.word.clone()).collect::<Vec<_>>();
    assert_eq!(words(ours), theirs.iter().map(|word| word.word.clone()).collect::<Vec<_>>(), "{place}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_near(place, &ours.word, ours.start, theirs.start, 1e-6);
        assert_near(place, &ours.word, ours.end, theirs.end, 1e-6);
        assert_near(place, &ours.word, ours.probability, theirs.probability, TEXTS);
    }
}

fn compare_segments(place: &str, ours: &[Segment], theirs: &[Expected]) {
    let tokens: Vec<_> = ours.iter().map(|segment| &segment.tokens).collect();
    assert_eq!(tokens, theirs.iter().map(|segment| &segment.tokens).collect::<Vec<_>>(), "{place}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.text, theirs.text, "{place}");
        compare_words(place, &ours.words, &theirs.words);
        assert_near(place, "start", ours.start, theirs.start, 1e-6);
        assert_near(place, "end", ours.end, theirs.end, 1e-6);
        assert_near(place, "temperature", ours.temperature, theirs.temperature, 0.0);
        assert_near(place, "avg_logprob", ours.avg_logprob, theirs.avg_logprob, TEXTS);
        assert_near(place, "no_speech_prob", ours.no_speech_prob, theirs.no_speech_prob, TEXTS);
        let ratio = ours.compression_ratio / theirs.compression_ratio;
        assert_near(place, "compression_ratio, relative", ratio, 1.0, COMPRESSION);
    }
}

#[test]
fn whole_transcriptions_equal_openais() {
    for fixture in all() {
        let whisper = fixture.whisper();
        for (name, case) in &fixture.golden.cases {
            let place = format!("{}/{name}", fixture.name);
            let (options, samples) = fixture.asked(case);
            let ours = fixture.begin(&whisper, samples, options).unwrap().finish().unwrap();
            assert_eq!(ours.language.as_ref().unwrap().code, case.answer.language, "{place}");
            compare_segments(&place, &ours.segments, &case.answer.segments);
            assert_eq!(ours.text, case.answer.text, "{place}");
        }
    }
}

#[test]
fn steps_tell_the_transcript_piece_by_piece_and_requests_beside_each_other_do_not_mix() {
    let fixture = all().remove(0);
    let whisper = fixture.whisper();
    let cases: Vec<_> = fixture.golden.cases.values().take(3).map(|case| fixture.asked(case)).collect();
    let begin = |(options, samples): &(SpeechOptions, Arc<[f32]>)| {
        fixture.begin(&whisper, samples.clone(), options.clone()).unwrap()
    };
    let alone: Vec<Transcript> = cases.iter().map(|case| begin(case).finish().unwrap()).collect();
    let mut running: Vec<_> = cases.iter().map(begin).collect();
    let mut told: Vec<(String, Vec<Segment>, f64)> = vec![Default::default(); running.len()];
    let mut done = vec![None; running.len()];
    while done.iter().any(Option::is_none) {
        for (index, run) in running.iter_mut().enumerate() {
            match run.next_step().unwrap() {
                TranscribeState::Done(transcript) => done[index] = Some(transcript),
                TranscribeState::Step(delta) => {
                    let (text, segments, heard) = &mut told[index];
                    text.push_str(&delta.text);
                    segments.extend(delta.segments);
                    assert!(delta.heard_seconds >= *heard && delta.heard_seconds <= delta.total_seconds);
                    *heard = delta.heard_seconds;
                }
            }
        }
    }
    for ((alone, done), (text, segments, _)) in alone.iter().zip(done).zip(told) {
        assert_eq!((&text, &segments), (&alone.text, &alone.segments));
        assert_eq!(done.as_ref(), Some(alone));
    }
}

#[test]
fn audio_without_a_voice_has_no_text_and_no_language() {
    for fixture in all() {
        let whisper = fixture.whisper();
        let noise: Vec<f32> = fixture.signal(0, 48_000).iter().map(|sample| sample * 0.001).collect();
        for samples in [vec![], vec![0.0; 100], vec![0.0; 160_000], noise] {
            let transcript =
                fixture.begin(&whisper, samples, SpeechOptions::default()).unwrap().finish().unwrap();
            assert_eq!((transcript.text.as_str(), transcript.segments.len()), ("", 0));
            assert!(
                transcript
                    .language
                    .is_none_or(|language| language.code == "en" && language.probability.is_none())
            );
        }
    }
}

#[test]
fn a_seed_gives_its_text_again_and_another_seed_another() {
    let fixture = all().remove(0);
    let whisper = fixture.whisper();
    let text = |seed: u64| {
        let options =
            SpeechOptions { temperatures: vec![1.0], seed, voice_only: false, ..SpeechOptions::default() };
        fixture.begin(&whisper, fixture.signal(0, 32_000), options).unwrap().finish().unwrap()
    };
    assert_eq!(text(3), text(3));
    assert!((4..12).any(|seed| text(seed) != text(3)));
}

#[test]
fn the_catalog_says_what_a_model_hears_and_what_is_for_pictures_is_refused_beside_it() {
    for fixture in all() {
        let model = fixture.model();
        assert_eq!((model.card.family.as_str(), model.card.device.as_str()), ("whisper", "cpu"));
        let count = fixture.golden.languages.len();
        assert_eq!(model.languages.len(), count);
        let title =
            if count == 0 { "Whisper, English".into() } else { format!("Whisper, {count} languages") };
        assert_eq!(model.card.description, title);
        assert!(model.card.memory_bytes > 10_000, "{}", model.card.memory_bytes);
        assert!(
            fixture.info().image().unwrap_err().to_string().contains("makes text from speech, not pictures")
        );
        let extras = Extras { adapters: vec![("ink".into(), "ink.safetensors".into())], ..Extras::default() };
        let (id, source, files) = ("ear".into(), "test".into(), fixture.folder.files());
        let spec = ModelSpec { id, source, files, description: None, extras };
        let config = EngineConfig {
            device: DeviceChoice::Cpu,
            models: vec![spec],
            memory_bytes: None,
            ..EngineConfig::default()
        };
        let error = CandleEngine::new(config).err().unwrap().to_string();
        assert!(error.contains("`ear`") && error.contains("`adapters`"), "{error}");
    }
}

#[test]
fn what_does_not_make_sense_is_refused_by_its_name_before_anything_is_computed() {
    for fixture in all() {
        let whisper = fixture.whisper();
        let is_multilingual = !fixture.model().languages.is_empty();
        let refused =
            |options: SpeechOptions, samples: &[f32]| match fixture.begin(&whisper, samples, options) {
                Err(Error::Invalid { field, .. }) => field,
                other => panic!("{}: {:?}", fixture.name, other.map(|_| ())),
            };
        let default = SpeechOptions::default;
        let long = "word ".repeat(100);
        let cases = [
            (SpeechOptions { temperatures: vec![], ..default() }, "temperatures"),
            (SpeechOptions { temperatures: vec![0.0, 2.1], ..default() }, "temperatures"),
            (SpeechOptions { temperatures: vec![f64::NAN], ..default() }, "temperatures"),
            (SpeechOptions { temperatures: vec![0.1; 11], ..default() }, "temperatures"),
            (SpeechOptions { beam_size: Some(0), ..default() }, "beam-size"),
            (SpeechOptions { best_of: Some(17), ..default() }, "best-of"),
            (SpeechOptions { patience: Some(1.0), ..default() }, "patience"),
            (SpeechOptions { patience: Some(0.1), beam_size: Some(2), ..default() }, "patience"),
            (SpeechOptions { length_penalty: Some(1.1), ..default() }, "length-penalty"),
            (SpeechOptions { logprob_threshold: Some(f64::NAN), ..default() }, "logprob-threshold"),
            (SpeechOptions { max_initial_timestamp: Some(31.0), ..default() }, "max-initial-timestamp"),
            (SpeechOptions { clips: vec![(2.0, 1.0)], ..default() }, "clips"),
            (SpeechOptions { clips: vec![(0.0, 2.0), (1.0, 3.0)], ..default() }, "clips"),
            (SpeechOptions { suppress_tokens: Some(vec![1 << 20]), ..default() }, "suppress-tokens"),
            (SpeechOptions { initial_prompt: Some(long), ..default() }, "initial-prompt"),
            (SpeechOptions { language: Some("klingon".into()), ..default() }, "language"),
            // known to Whisper, and not to these models
            (SpeechOptions { language: Some("Cantonese".into()), ..default() }, "language"),
        ];
        for (options, field) in cases {
            assert_eq!(refused(options, &[]), field, "{}", fixture.name);
        }
        assert_eq!(refused(default(), &[0.0, f32::NAN]), "audio");
        assert_eq!(refused(default(), &vec![0.0; 16_000 * (4 * 3_600 + 1)]), "audio");
        if !is_multilingual {
            let translated: SpeechOptions = serde_json::from_str(r#"{"task": "translate"}"#).unwrap();
            assert_eq!(refused(translated, &[]), "task");
            assert_eq!(refused(SpeechOptions { language: Some("fi".into()), ..default() }, &[]), "language");
        }
    }
}

#[test]
fn a_folder_that_lacks_something_is_refused_by_file_and_name() {
    let fixture = all().remove(0);
    let names = ["config.json", "generation_config.json", "tokenizer.json"];
    for missing in names {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&fixture.folder.path).unwrap().map(Result::unwrap) {
            if entry.file_name() != missing {
                std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
        }
        let open =
            || Whisper::open(&ModelFiles::folder(folder.path()), &Device::Cpu).unwrap_err().to_string();
        assert!(open().contains(missing), "{}", open());
        let text = std::fs::read_to_string(fixture.folder.path.join(missing)).unwrap();
        let (from, to, wrong) = match missing {
            "config.json" => (r#""decoder_layers": "#, r#""decoder_layers": 1"#, "decoder.layers."),
            "tokenizer.json" => ("<|startofprev|>", "<|other|>", "<|startofprev|>"),
            _ => (r#""suppress_tokens": ["#, r#""suppress_tokens": [99999, "#, "99999"),
        };
        std::fs::write(folder.path().join(missing), text.replace(from, to)).unwrap();
        assert!(open().contains(wrong), "{}", open());
    }
}

#[test]
fn a_model_of_many_languages_without_their_tokens_is_refused() {
    for fixture in all().into_iter().filter(|fixture| !fixture.golden.languages.is_empty()) {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&fixture.folder.path).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let file = folder.path().join("tokenizer.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let without =
            |text: String, code: &String| text.replace(&format!("<|{code}|>"), &format!("<|no {code}|>"));
        std::fs::write(&file, fixture.golden.languages.keys().fold(text, without)).unwrap();
        let error = Whisper::open(&ModelFiles::folder(folder.path()), &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json") && error.contains("no language's token"), "{error}");
    }
}
