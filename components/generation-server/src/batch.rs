//! `POST /api/batch`: up to a hundred t2i tasks, which are kept whole or not at all. Every fault of every task is told at once.

use std::collections::BTreeMap;

use atelier_kit::fastapi::Failure;
use atelier_kit::fields::{Fault, Faults};
use atelier_kit::host::Model;
use atelier_kit::http::{Request, Response};
use serde_json::{Value, json};

use crate::api::Capable;
use crate::models::{self, Drawer, Make};
use crate::submit::{Terms, refused, told};
use crate::task::Task;
use crate::wish::Wish;

/// The field that has the tasks.
const TASKS: &str = "tasks";

/// The most tasks: as many jobs as the host keeps at once.
pub(crate) const MAX_TASKS: usize = 100;

/// The most bytes of the body: the most tasks with long prompts, and little enough to parse within the time of a request.
const MAX_BYTES: usize = 1 << 20;

/// Answers with the ids, in the order of the tasks.
pub(crate) async fn answer(host: &impl Capable, request: &Request) -> Result<Response, Failure> {
    let terms = Terms::read(host, request)?;
    let wishes = wishes(&request.body)?;
    let models = models_of(host, &wishes).await?;
    let mut faults = Vec::new();
    let mut submissions = Vec::new();
    for (index, (drawer, wish)) in wishes.iter().enumerate() {
        let Some(model) = models.get(drawer.name) else { continue };
        if let Err(found) = models::check(model, wish, Make::FromText) {
            faults.extend(at(index, found));
            continue;
        }
        let task = Task::new(wish, model, &terms.base);
        submissions.push(terms.submission(&index.to_string(), drawer, Make::FromText, wish, &task));
    }
    none(faults)?;
    let receipts = host.submit(submissions).await;
    let receipts = receipts.map_err(|error| refused(error, |index, fault| fault.in_entry(TASKS, index)))?;
    let mut tasks = Vec::new();
    for (receipt, (_, wish)) in receipts.into_iter().zip(&wishes) {
        tasks.push(told(host, receipt, wish).await);
    }
    Ok(Response::json(200, &json!({ "tasks": tasks })))
}

/// The tasks of a body.
fn wishes(body: &[u8]) -> Result<Vec<(&'static Drawer, Wish)>, Failure> {
    if body.len() > MAX_BYTES {
        return Err(Failure::new(413, format!("the body has more than {MAX_BYTES} bytes; send fewer tasks")));
    }
    let wanted = format!("send {{\"{TASKS}\": [1 to {MAX_TASKS} objects]}}");
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Failure::unreadable(format!("the body is not valid JSON: {error}; {wanted}")))?;
    let object = body.as_object().filter(|object| object.keys().all(|key| key == TASKS));
    let tasks = object.and_then(|object| object.get(TASKS)).and_then(Value::as_array);
    let tasks = tasks.ok_or_else(|| Failure::unreadable(format!("the body is no batch; {wanted}")))?;
    if !(1..=MAX_TASKS).contains(&tasks.len()) {
        return Err(Failure::invalid(TASKS, format!("`{TASKS}` has {} entries; {wanted}", tasks.len())));
    }
    let (mut wishes, mut faults) = (Vec::new(), Vec::new());
    for (index, task) in tasks.iter().enumerate() {
        match Wish::of_batch(task.to_string().as_bytes()) {
            Ok(wish) => wishes.push(wish),
            Err(found) => faults.extend(at(index, found)),
        }
    }
    none(faults)?;
    Ok(wishes)
}

/// The models that the tasks name, each looked up once.
async fn models_of(
    host: &impl Capable,
    wishes: &[(&'static Drawer, Wish)],
) -> Result<BTreeMap<&'static str, Model>, Failure> {
    let mut models = BTreeMap::new();
    for (drawer, _) in wishes {
        if !models.contains_key(drawer.name) {
            models.insert(drawer.name, drawer.model(host).await?);
        }
    }
    Ok(models)
}

/// A task's faults under their place in the batch.
fn at(index: usize, faults: Faults) -> impl Iterator<Item = Fault> {
    faults.each.into_iter().map(move |fault| fault.in_entry(TASKS, index))
}

fn none(faults: Vec<Fault>) -> Result<(), Failure> {
    if faults.is_empty() { Ok(()) } else { Err(Faults::from(faults).into()) }
}
