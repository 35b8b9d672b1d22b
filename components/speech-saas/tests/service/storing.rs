//! What is kept: the list, the files, what goes when, and what is never found.

use atelier_kit::Request;
use atelier_kit::fake::{Fake, Script, get, json};
use atelier_kit::storage::StorageError;
use serde_json::{Value, json as value};

use crate::{CLEANUP, answer, both, generate, post, read, reply, text};

const BODY: &str = r#"{"prompt": "a cat"}"#;

/// Makes so many pictures and gives their names.
fn made(host: &Fake, count: usize) -> Vec<String> {
    let name = |_| {
        let (status, answer) = generate(host, BODY);
        assert_eq!(status, 200, "{answer}");
        answer["filename"].as_str().unwrap_or_default().to_owned()
    };
    (0..count).map(name).collect()
}

fn names(answer: &Value) -> Vec<&str> {
    let images = answer["images"].as_array().expect("a list");
    images.iter().map(|image| image["filename"].as_str().unwrap_or_default()).collect()
}

/// README lines: "`GET /images` - Get image history", "**Image History**: Track and serve generated images".
#[test]
fn the_history_has_the_newest_first_and_pages() {
    let host = both().host();
    assert_eq!(read(&host, "/images").1, value!({"images": [], "total": 0, "limit": 50, "offset": 0}));
    let made = made(&host, 3);
    let (_, all) = read(&host, "/images");
    assert_eq!(names(&all), [made[2].as_str(), &made[1], &made[0]]);
    assert_eq!(all["images"][0]["url"], format!("/images/{}", made[2]));
    let (_, page) = read(&host, "/images?limit=1&offset=1");
    assert_eq!((names(&page), &page["total"]), (vec![made[1].as_str()], &value!(3)));
    for query in ["limit=0", "limit=501", "limit=x", "offset=-1", "page=2"] {
        assert_eq!(read(&host, &format!("/images?{query}")).0, 400, "{query}");
    }
    let query = Some("limit=0".into());
    assert_eq!(answer(&host, Request { query, ..post("/images", "") }).status, 405, "the method first");
}

#[test]
fn the_answer_has_a_long_prompt_whole_and_the_history_marks_that_it_has_a_part() {
    let host = both().host();
    for (characters, kept) in [(300, "ä".repeat(300)), (301, format!("{}…", "ä".repeat(299)))] {
        let prompt = "ä".repeat(characters);
        let (_, answer) = generate(&host, &value!({"prompt": prompt}).to_string());
        assert_eq!(answer["prompt"], prompt);
        assert_eq!(read(&host, "/images").1["images"][0]["prompt"], kept);
    }
}

#[test]
fn addresses_hold_below_a_path() {
    let host = both().host();
    let headers = [("x-forwarded-prefix", "/saas")].into_iter().collect();
    let (_, answer) = json(reply(&host, Request { headers, ..post("/generate-image", BODY) }));
    assert_eq!(answer["image_url"], "/saas/images/1700000000-000001.png");
}

/// README lines: "`GET /images/<filename>` - Serve generated images", "**Path Traversal Protection**: Prevents directory traversal
/// attacks".
#[test]
fn a_picture_is_served_under_its_name_and_nothing_under_any_other() {
    let host = both().host();
    let name = &made(&host, 1)[0];
    let response = answer(&host, get(&format!("/images/{name}")));
    assert_eq!((response.status, response.body.as_slice()), (200, &b"png 128x128"[..]));
    assert_eq!(response.headers.get("content-type"), Some("image/png"));
    host.memory
        .objects
        .borrow_mut()
        .insert(("speech-saas-images".into(), "secret.png".into()), b"x".to_vec());
    for name in [
        "secret.png",
        "",
        "../history",
        "..%2fhistory",
        "1700000000-000001.png/..",
        "/etc/passwd",
        "%00",
        "a\\b",
    ] {
        let (status, answer) = read(&host, &format!("/images/{name}"));
        assert_eq!(status, 404, "{name}: {answer}");
    }
}

/// README lines: "**Automatic Cleanup**: Old images and unused models are cleaned up", "**Image Settings**: Quality, size, and
/// retention policies".
#[test]
fn old_pictures_and_those_beyond_the_most_go_by_themselves() {
    let host = both().with_config("MAX_IMAGES", "2").with_config("IMAGE_RETENTION_HOURS", "1").host();
    let first = made(&host, 3);
    let (_, all) = read(&host, "/images");
    assert_eq!(names(&all), [first[2].as_str(), &first[1]]);
    host.record.borrow_mut().unix_seconds += 3_601;
    let later = made(&host, 1);
    assert_eq!(names(&read(&host, "/images").1), [later[0].as_str()]);
    let files: Vec<_> = host.memory.objects.borrow().keys().map(|(_, name)| name.clone()).collect();
    assert_eq!(files, later, "files go with their entries");
}

fn clean(host: &Fake, key: Option<&str>, body: &str) -> (u16, Value) {
    let headers = key.into_iter().map(|key| ("x-cleanup-key", key)).collect();
    json(reply(host, Request { headers, ..post(CLEANUP, body) }))
}

/// README line: "`POST /cleanup` - Manual cleanup of old files".
#[test]
fn cleaning_up_takes_the_operators_key() {
    let host = both().with_config("CLEANUP_KEY", "secret").host();
    made(&host, 2);
    assert_eq!(clean(&host, None, "").0, 401);
    for wrong in ["", "secre", "secret1", "Secret"] {
        assert_eq!(clean(&host, Some(wrong), "").0, 403, "{wrong}");
    }
    let (status, answer) = clean(&host, Some("secret"), "");
    assert_eq!(
        (status, answer),
        (200, value!({"success": true, "removed": 0, "freed_bytes": 0, "remaining": 2}))
    );
    let (_, answer) = clean(&host, Some("secret"), r#"{"max_age_hours": 0}"#);
    assert_eq!(answer, value!({"success": true, "removed": 2, "freed_bytes": 22, "remaining": 0}));
    assert!(host.memory.objects.borrow().is_empty());
    let bearer = [("authorization", "Bearer secret")].into_iter().collect();
    assert_eq!(answer_status(&host, Request { headers: bearer, ..post(CLEANUP, "") }), 200);
    assert_eq!(clean(&host, Some("secret"), r#"{"age": 1}"#).0, 400);
    let (status, answer) = clean(&both().host(), Some("secret"), "");
    assert!(status == 403 && text(&answer).contains("`config.CLEANUP_KEY`"), "{answer}");
}

fn answer_status(host: &Fake, request: Request) -> u16 {
    answer(host, request).status
}

#[test]
fn a_picture_that_cannot_be_kept_is_an_error_and_leaves_nothing() {
    let objects = Err(StorageError::Full("tenant.quotas.stored-bytes is used up".into()));
    let host = Script { objects, ..both() }.host();
    let (status, answer) = generate(&host, BODY);
    assert!(status == 507 && text(&answer).contains("stored-bytes"), "{answer}");
    assert_eq!(read(&host, "/images").1["total"], 0);
    let storage =
        Err(StorageError::Denied("`speech-saas` is not granted; add it to `grants.buckets`".into()));
    let (status, answer) = generate(&Script { storage, ..both() }.host(), BODY);
    assert!(status == 502 && text(&answer).contains("`grants.buckets`"), "{answer}");
}
