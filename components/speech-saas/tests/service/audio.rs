//! What becomes of a recording.

use atelier_kit::fake::Script;
use atelier_kit::host::GenerationError;
use serde_json::json;

use crate::{text, transcribe};

/// README lines: "`POST /transcribe-audio` - Convert audio file to text", "**Speech Recognition**: Audio-to-text conversion using
/// OpenAI Whisper".
#[test]
fn a_recording_becomes_text() {
    // as Swagger UI sends the other one
    for (name, other) in [("audio@", "file"), ("file@", "audio")] {
        let parts = [(name, "sound"), (other, ""), ("language", "")];
        let (status, answer) = transcribe(&Script::default().host(), &parts);
        let expected =
            json!({"success": true, "text": "A red boat.", "language": "en", "duration": 3.0, "notes": []});
        assert_eq!((status, answer), (200, expected), "{name}");
    }
    let host = Script::default().host();
    transcribe(&host, &[("audio@", "sound"), ("language", "finnish")]);
    assert_eq!(host.record.borrow().speech[0].language.as_deref(), Some("finnish"));
}

/// README line: "**File Validation**: Checks file types and sizes".
#[test]
fn a_file_that_is_no_recording_or_too_long_is_refused() {
    let host = Script::default().host();
    for (parts, status, wanted) in [
        (&[("audio@", "noise")][..], 400, "`audio` cannot be read: this is no recording"),
        (&[("audio@", "long")], 413, "limits.audio-seconds"),
        (&[("audio@", "")], 400, "`audio` is empty"),
        (&[], 400, "`audio` is missing"),
        (&[("audio", ""), ("file", "")], 400, "`audio` is missing"),
        (&[("audio@", "a"), ("file@", "b")], 400, "there are 2 recordings"),
        (&[("audio@", "a"), ("model", "large")], 400, "`model` is not a field"),
    ] {
        let (found, answer) = transcribe(&host, parts);
        assert_eq!(found, status, "{answer}");
        assert!(text(&answer).contains(wanted), "{answer}");
    }
}

#[test]
fn what_is_missing_or_full_is_said() {
    let (status, answer) =
        transcribe(&Script { ears: vec![], ..Script::default() }.host(), &[("audio@", "a")]);
    assert!(status == 502 && text(&answer).contains("`grants.models`"), "{answer}");
    let full = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 500 };
    let host = Script { refuse: Some(full), ..Script::default() }.host();
    assert_eq!(transcribe(&host, &[("audio@", "a")]).0, 429);
}
