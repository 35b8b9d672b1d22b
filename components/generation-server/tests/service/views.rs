//! `POST /api/qwen-multi-angle/t2i` and `/i2i`: the view, and what is said while there are no weights.

use atelier_kit::fake::{Fake, Script, drawing};
use serde_json::{Value, json};

use crate::{T2I, fault, faults, flux, post, send, submitted, work_off};

const T2I_VIEW: &str = "/api/qwen-multi-angle/t2i";
const I2I_VIEW: &str = "/api/qwen-multi-angle/i2i";

/// A host where another model stands in.
fn standing_in() -> Fake {
    let models = vec![drawing("flux-dev"), drawing("nano")];
    Script { models, ..flux() }.with_config("qwen-multi-angle", "nano").host()
}

fn prompt(host: &Fake) -> String {
    work_off(host).expect("a picture");
    let record = host.record.borrow();
    let order = &record.orders.last().expect("an order").order;
    assert_eq!(order.model, "nano");
    order.prompt.clone()
}

/// README line: "**Qwen Multi-Angle**: Multi-angle image generation". Its weights are not here.
#[test]
fn a_task_that_is_right_is_answered_with_501_until_a_model_is_there() {
    let host = flux().host();
    for (status, answer) in [
        post(&host, T2I_VIEW, &json!({"prompt": "a chair", "view": "left"})),
        send(&host, I2I_VIEW, &[("image@", "128x64"), ("view", "back")]),
    ] {
        let text = answer["detail"].as_str().unwrap_or_default();
        assert!(
            status == 501 && text.contains("no weights") && text.contains("`config.qwen-multi-angle`"),
            "{text}"
        );
    }
    assert!(host.record.borrow().background.submissions.is_empty());
}

#[test]
fn a_task_that_is_wrong_is_told_so_first() {
    let host = flux().host();
    assert_eq!(fault(post(&host, T2I_VIEW, &json!({"prompt": "a chair", "view": "inside"}))), "view");
    assert_eq!(fault(post(&host, T2I_VIEW, &json!({"view": "left"}))), "prompt");
    assert_eq!(fault(send(&host, I2I_VIEW, &[("view", "left")])), "image");
    let (_, text) = faults(post(&host, T2I_VIEW, &json!({"prompt": "a", "view": 1}))).remove(0);
    assert!(text.contains("front, front-left, left"), "{text}");
}

#[test]
fn a_view_is_put_into_words_for_a_model_that_stands_in() {
    let host = standing_in();
    for (view, words) in
        [("left", "seen from the left side"), ("top", "seen from above"), ("back", "seen from behind")]
    {
        submitted(post(&host, T2I_VIEW, &json!({"prompt": "a chair", "view": view})));
        assert_eq!(prompt(&host), format!("a chair, {words}"));
    }
    submitted(post(&host, T2I_VIEW, &json!({"prompt": "a chair"})));
    assert_eq!(prompt(&host), "a chair, seen from the front");
    submitted(send(&host, I2I_VIEW, &[("image@", "128x64"), ("view", "right")]));
    assert_eq!(prompt(&host), "seen from the right side");
}

#[test]
fn other_models_have_no_view() {
    assert_eq!(fault(post(&standing_in(), T2I, &json!({"prompt": "a", "view": "left"}))), "view");
    let body: Value = json!({"tasks": [{"model": "flux", "prompt": "a", "view": "left"}]});
    assert_eq!(fault(post(&standing_in(), "/api/batch", &body)), "tasks/0/view");
}
