//! What operators see.

use atelier_kit::fake::Script;
use atelier_kit::machine::{Figures, MachineError};
use atelier_kit::storage::StorageError;
use serde_json::json;

use crate::{both, generate, read, text};

/// README lines: "`GET /status` - Get server status and system info", "**System Status**: CPU, memory, and disk usage", "**Model
/// Status**: Loaded models and memory usage", "**Generation Status**: Current generation state", "**Image Statistics**: Count and
/// storage usage".
#[test]
fn the_status_shows_machine_models_queue_and_pictures() {
    let usage = Figures {
        cores: 2,
        cpu_percent: Some(12.5),
        memory_total_bytes: 1_000,
        memory_available_bytes: 750,
        host_memory_bytes: 100,
        disk_total_bytes: Some(2_000),
        disk_free_bytes: Some(500),
        jobs_running: 1,
        jobs_waiting: 3,
    };
    let host = Script { usage: Ok(usage), ..both() }.host();
    generate(&host, r#"{"prompt": "a cat"}"#);
    let (status, answer) = read(&host, "/status");
    assert_eq!((status, &answer["status"]), (200, &json!("running")));
    let system = json!({
        "cpu": {"percent": 12.5, "cores": 2},
        "memory": {"total_bytes": 1_000, "available_bytes": 750, "percent": 25.0, "process_bytes": 100},
        "disk": {"total_bytes": 2_000, "free_bytes": 500, "percent": 75.0},
    });
    assert_eq!(answer["system"], system);
    assert_eq!(answer["generation"], json!({"state": "working", "running": 1, "waiting": 3}));
    assert_eq!(answer["images"], json!({"count": 1, "bytes": 11, "max": 200, "retention_hours": 168.0}));
    let model = &answer["models"]["image"][0];
    assert_eq!((&model["id"], &model["loaded"]), (&json!("dreamshaper-8"), &json!(true)));
    assert_eq!(answer["models"]["speech"], json!(["ear"]));
}

/// README line: "**Graceful Degradation**: Continues operation even with partial failures".
#[test]
fn a_part_that_cannot_be_asked_says_so_and_the_others_answer() {
    let usage = Err(MachineError("this system does not say".into()));
    let storage = Err(StorageError::Failed("the disk is gone".into()));
    let (status, answer) = read(&Script { usage, storage, ..both() }.host(), "/status");
    assert_eq!((status, &answer["status"]), (200, &json!("degraded")));
    assert_eq!(answer["system"]["error"], "this system does not say");
    assert_eq!(answer["images"]["error"], "the disk is gone");
    assert_eq!(answer["models"]["image"].as_array().map(Vec::len), Some(2));
}

/// README line: "`GET /health` - Health check endpoint".
#[test]
fn health_is_503_where_the_service_cannot_do_its_work() {
    let (status, answer) = read(&both().host(), "/health");
    assert_eq!((status, &answer["status"]), (200, &json!("healthy")));
    for (script, check) in [
        (Script { models: Vec::new(), ..both() }, "image_models"),
        (Script { ears: Vec::new(), ..both() }, "speech_models"),
        (Script { storage: Err(StorageError::Failed("gone".into())), ..both() }, "storage"),
        (both().with_config("MAX_IMAGES", "many"), "configuration"),
    ] {
        let (status, answer) = read(&script.host(), "/health");
        assert_eq!((status, &answer["status"]), (503, &json!("unhealthy")));
        assert_eq!(answer["checks"][check], json!(false), "{answer}");
    }
}

/// README line: "Key configuration options in `config.py`".
#[test]
fn settings_that_cannot_be_used_are_named() {
    for (key, value) in [
        ("DEFAULT_INFERENCE_STEPS", "0"),
        ("DEFAULT_INFERENCE_STEPS", "1.9"),
        ("MAX_IMAGES", "10.5"),
        ("DEFAULT_GUIDANCE_SCALE", "51"),
        ("IMAGE_RETENTION_HOURS", "0"),
        ("MAX_IMAGES", "501"),
        ("RATE_LIMIT_PER_MINUTE", "nan"),
        ("models", "dreamshaper"),
    ] {
        let (status, answer) = generate(&both().with_config(key, value).host(), r#"{"prompt": "a cat"}"#);
        assert!(status == 502 && text(&answer).contains(&format!("`config.{key}`")), "{key}: {answer}");
    }
}
