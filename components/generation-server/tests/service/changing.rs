//! `POST /api/flux/i2i`: every field of the form, and the picture's way to the job and out of the storage again.

use atelier_kit::fake::{Fake, Ordered, Script, form, json};
use atelier_kit::host::{GenerationError, Model, Size};
use atelier_kit::jobs::JobsError;
use atelier_kit::storage::{Storage, StorageError};
use futures::executor::block_on;
use serde_json::{Value, json as value};

use crate::{FIRST, I2I, answer, fault, flux, reply, send, status, submitted, work_off};

const IMAGE: (&str, &str) = ("image@", "128x64");

fn ordered(host: &Fake, parts: &[(&str, &str)]) -> Ordered {
    submitted(send(host, I2I, parts));
    work_off(host).expect("a picture");
    host.record.borrow().orders.last().cloned().expect("an order")
}

/// How many pictures wait for their jobs.
fn waiting(host: &Fake) -> usize {
    let known =
        block_on(host.get("generation-server", "inputs")).expect("kept").unwrap_or_else(|| b"[]".to_vec());
    let known: Vec<Value> = serde_json::from_slice(&known).expect("a list");
    for entry in &known {
        let name = entry["name"].as_str().expect("a name");
        assert!(block_on(host.read("inputs", name)).expect("read").is_some(), "{name} has no object");
    }
    known.len()
}

/// README lines: "- `image`: File (required)", "- `prompt`: string (optional)", "- `strength`: float (default: 0.8)", "-
/// `guidance_scale`: float (default: 7.5)", "- `num_inference_steps`: int (default: 50)", "- `seed`: int (optional)".
#[test]
fn an_image_alone_has_the_defaults() {
    let Ordered { order, source, strength } = ordered(&flux().host(), &[IMAGE]);
    let size = Size { width: 128, height: 64 };
    assert_eq!((source, strength, order.size), (Some(size), Some(0.8), Some(size)));
    assert_eq!((order.prompt.as_str(), order.steps, order.guidance), ("", Some(50), Some(7.5)));
    assert_eq!(order.seed, None);
}

/// The fields of the README's second example.
#[test]
fn every_field_of_the_form_reaches_the_model() {
    let parts = [
        IMAGE,
        ("prompt", "Transform into a watercolor painting"),
        ("strength", "0.6"),
        ("guidance_scale", "3.5"),
        ("num_inference_steps", "8"),
        ("seed", "7"),
        ("priority", "high"),
        ("webhook_url", "https://example.com/hook"),
    ];
    let Ordered { order, strength, .. } = ordered(&flux().host(), &parts);
    assert_eq!(order.prompt, "Transform into a watercolor painting");
    assert_eq!((strength, order.guidance, order.steps, order.seed), (Some(0.6), Some(3.5), Some(8), Some(7)));
    let empty = [IMAGE, ("prompt", ""), ("strength", ""), ("seed", "")];
    assert_eq!(ordered(&flux().host(), &empty).strength, Some(0.8));
}

#[test]
fn values_past_their_bounds_are_refused_by_field() {
    for (field, values) in [
        ("strength", ["0", "1.1", "nan"]),
        ("guidance_scale", ["-1", "51", "x"]),
        ("num_inference_steps", ["0", "151", "1.5"]),
        ("seed", ["-1", "9007199254740992", "x"]),
        ("width", ["512", "1", ""]),
    ] {
        for written in values.iter().filter(|written| !written.is_empty()) {
            assert_eq!(fault(send(&flux().host(), I2I, &[IMAGE, (field, written)])), field, "{written}");
        }
    }
}

#[test]
fn an_image_must_be_there_once_and_be_one() {
    let host = flux().host();
    assert_eq!(fault(send(&host, I2I, &[("prompt", "a")])), "image");
    assert_eq!(fault(send(&host, I2I, &[IMAGE, IMAGE])), "image");
    let unreadable = value!({"detail": "`image` cannot be read: this is no picture"});
    assert_eq!(send(&host, I2I, &[("image@", "zip")]), (400, unreadable));
    let empty = value!({"detail": "`image` is empty; send a picture"});
    assert_eq!(send(&host, I2I, &[("image@", "")]), (400, empty));
    let only_draws = Model { image_to_image: false, ..flux().models[0].clone() };
    assert_eq!(fault(send(&Script { models: vec![only_draws], ..flux() }.host(), I2I, &[IMAGE])), "image");
    assert_eq!((waiting(&host), host.record.borrow().background.submissions.len()), (0, 0));
}

#[test]
fn an_image_of_a_size_that_the_model_does_not_draw_keeps_its_shape_and_is_told() {
    let host = flux().host();
    let size = ordered(&host, &[("image@", "1000x500")]).order.size;
    assert_eq!(size, Some(Size { width: 184, height: 88 }));
    let message = status(&host, FIRST)["message"].to_string();
    assert!(message.contains("`image` was scaled from 1000x500 to 184x88 for flux-dev"), "{message}");
}

#[test]
fn an_image_is_kept_until_its_task_is_over_and_no_longer() {
    let host = flux().host();
    submitted(send(&host, I2I, &[IMAGE]));
    assert_eq!(waiting(&host), 1);
    work_off(&host).expect("a picture");
    assert_eq!(waiting(&host), 0);
    // of a task that is called off
    let id = submitted(send(&host, I2I, &[IMAGE]));
    let request =
        atelier_kit::Request { method: "DELETE".into(), ..atelier_kit::fake::get(&format!("/api/{id}")) };
    assert_eq!(answer(&host, request).status, 200);
    assert_eq!(waiting(&host), 0);
    // of one that the host does not take
    let full =
        Script { jobs: Err(JobsError::Full("tenant.quotas.waiting-jobs is 1000".into())), ..flux() }.host();
    let refused = answer(&full, form(I2I, &[IMAGE]));
    assert_eq!((refused.status, refused.headers.get("retry-after")), (429, Some("10")));
    assert_eq!(waiting(&full), 0);
    // of one that ended without a word: the next task's request finds it
    let id = submitted(send(&host, I2I, &[IMAGE]));
    host.record.borrow_mut().background.standings.iter_mut().filter(|known| known.id == id).for_each(
        |known| {
            known.state = atelier_kit::jobs::State::Failed;
        },
    );
    submitted(send(&host, I2I, &[IMAGE]));
    assert_eq!(waiting(&host), 1);
}

#[test]
fn an_image_is_still_there_for_the_next_attempt() {
    let busy = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 1 };
    let host = Script { refuse: Some(busy), ..flux() }.host();
    submitted(send(&host, I2I, &[IMAGE]));
    for _ in 0..2 {
        assert!(work_off(&host).is_err());
        assert_eq!((waiting(&host), status(&host, FIRST)["status"].as_str()), (1, Some("pending")));
        assert_eq!(status(&host, FIRST)["error"], Value::Null);
    }
    assert!(work_off(&host).is_err());
    assert_eq!(status(&host, FIRST)["status"], "failed");
}

#[test]
fn the_same_image_under_the_same_key_is_the_same_task() {
    let host = flux().host();
    let keyed = |image: &str| {
        let mut request = form(I2I, &[("image@", image), ("prompt", "a")]);
        request.headers.add("Idempotency-Key", "monday");
        json(reply(&host, request))
    };
    assert_eq!(keyed("128x64").1["session_id"], FIRST);
    assert_eq!(keyed("128x64").1["session_id"], FIRST);
    assert_eq!((waiting(&host), keyed("64x128").0), (1, 409));
    // another task with the same picture is refused, and that of the first stays
    let mut other = form(I2I, &[("image@", "128x64"), ("prompt", "b")]);
    other.headers.add("idempotency-key", "monday");
    assert_eq!(json(reply(&host, other)).0, 409);
    // a picture of its own is not left there
    assert_eq!(waiting(&host), 1);
    work_off(&host).expect("a picture");
    let (status, again) = keyed("128x64");
    assert_eq!((status, &again["session_id"], &again["status"]), (200, &value!(FIRST), &value!("completed")));
}

#[test]
fn a_storage_that_is_full_says_so_before_anything_is_queued() {
    let host =
        Script { objects: Err(StorageError::Full("tenant.quotas.stored-bytes".into())), ..flux() }.host();
    let (status, answer) = send(&host, I2I, &[IMAGE]);
    assert!(status == 507 && answer["detail"].to_string().contains("stored-bytes"), "{answer}");
    assert!(host.record.borrow().background.submissions.is_empty());
}
