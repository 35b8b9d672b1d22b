//! From a command to the next picture: hear, understand, then draw, change or go back, and keep what came of it. Dropping the
//! future at any point drops the job that it waits for, which ends it before its next step.

use atelier_kit::intent::{Action, Intention};
use atelier_kit::speech::{SpeechOrder, Transcription as _};
use serde_json::{Value, json};

use crate::api::Studio;
use crate::command::{Command, Source};
use crate::failure::Failure;
use crate::gallery::{Gallery, Picture};
use crate::modes::{self, Workplace};
use crate::painter::{self, Painted};
use crate::pictures;
use crate::progress::{Progress, Tell};
use crate::settings::Settings;
use crate::time::Moment;
use crate::visitor::{self, Visitor, limit_reached, session_info};

/// How much of a command is kept, in characters.
const KEPT_COMMAND: usize = 300;

/// Does everything that a command asks for; what a client is told at its end.
pub(crate) async fn work(
    host: &impl Studio,
    visitor: &Visitor,
    settings: &Settings,
    command: Command,
    progress: &mut Progress,
) -> Result<Value, Failure> {
    let workplace = modes::workplace(host, command.mode, settings).await?;
    let mut notes: Vec<String> = workplace.note.clone().into_iter().collect();
    let (said, language) = hear(host, settings, command.source, command.language, progress).await?;
    progress.heard(&said, language.as_deref()).await;
    let intention = host.interpret(said.clone()).await?;
    progress.understood(&intention).await;
    let image = command.image;
    let gallery = match intention.action {
        Action::None => None,
        Action::Undo => {
            Some(Gallery::change(host, &visitor.owner, |gallery| go_back(gallery, image.as_deref())).await?)
        }
        Action::Create | Action::Edit => {
            let task = Task { visitor, settings, workplace: &workplace, said: &said, intention: &intention };
            let (gallery, picture, more) = task.make(host, image.as_deref(), progress).await?;
            notes.extend(more);
            Some((gallery, picture))
        }
    };
    let (gallery, picture) = match gallery {
        Some((gallery, picture)) => (gallery, Some(picture)),
        None => (Gallery::load(host, &visitor.owner).await?, None),
    };
    Ok(json!({
        "action": intention.action.name(),
        "image": picture.as_ref().map(Picture::shown),
        "current": gallery.current(),
        "session": session_info(host, visitor, &gallery, settings).await?,
        "notes": notes,
    }))
}

/// What is said in the recording, or written, and in which language.
async fn hear(
    host: &impl Studio,
    settings: &Settings,
    source: Source,
    language: Option<String>,
    progress: &mut Progress,
) -> Result<(String, Option<String>), Failure> {
    let bytes = match source {
        Source::Written(text) => return Ok((text.trim().to_owned(), None)),
        Source::Audio(bytes) => bytes,
    };
    let recording = host.recording(bytes).await?;
    let model = listener(host, settings).await?;
    let mut job =
        host.transcribe(SpeechOrder { model, language, ..SpeechOrder::default() }, &recording).await?;
    // events of a job that nobody follows are not read; its outcome does not wait for them
    if progress.is_followed() {
        while let Some(event) = job.next_event().await {
            progress.hearing(event).await;
        }
    }
    let transcript = job.outcome().await?;
    match transcript.text.trim() {
        "" => Err(Failure::new(422, "nothing_heard", "nothing was heard; hold the button while you speak")),
        text => Ok((text.to_owned(), transcript.language.map(|language| language.code))),
    }
}

/// The model that listens: the size that the configuration names, or the route's first.
async fn listener(host: &impl Studio, settings: &Settings) -> Result<String, Failure> {
    let ids: Vec<_> = host.speech_models().await.into_iter().map(|model| model.id).collect();
    let Some(size) = &settings.listener else {
        let text = "no model of speech is granted to this route: add its id to `grants.models`";
        return ids.into_iter().next().ok_or_else(|| Failure::backend(text));
    };
    let is_meant = |id: &String| id == size || id.ends_with(&format!("-{size}"));
    ids.iter().find(|id| is_meant(id)).cloned().ok_or_else(|| {
        let known = ids.join(", ");
        Failure::backend(format!(
            "LOCAL_MODEL_SIZE `{size}` is no model of speech of this route; it has: {known}"
        ))
    })
}

/// Back from the picture that the client shows, which is the present one unless it says so.
fn go_back(gallery: &mut Gallery, image: Option<&str>) -> Result<Picture, Failure> {
    if let Some(name) = image {
        gallery.choose(name)?;
    }
    gallery.back()
}

/// A picture that is to be made, and everything that is known of it before.
struct Task<'a> {
    visitor: &'a Visitor,
    settings: &'a Settings,
    workplace: &'a Workplace,
    said: &'a str,
    intention: &'a Intention,
}

impl Task<'_> {
    /// Makes and keeps it; gives the gallery with it, and what a user should know.
    async fn make<H: Studio>(
        &self,
        host: &H,
        image: Option<&str>,
        progress: &mut Progress,
    ) -> Result<(Gallery, Picture, Vec<String>), Failure> {
        let gallery = Gallery::load(host, &self.visitor.owner).await?;
        let is_counted = gallery.account.is_none();
        if is_counted && self.visitor.made(host).await? >= self.settings.max_images {
            return Err(limit_reached(self.settings));
        }
        let parent = match (self.intention.action, image.or(gallery.current())) {
            (Action::Edit, Some(name)) => Some(gallery.find(name)?.name.clone()),
            (Action::Edit, None) => {
                let text = "there is no image to change yet; create one first";
                return Err(Failure::new(422, "nothing_to_edit", text));
            }
            _ => None,
        };
        let prompt = &self.intention.prompt;
        let painted = match &parent {
            Some(name) => {
                let picture = pictures::load(host, name).await?;
                painter::edit(host, &self.workplace.edit, &picture, prompt, progress).await?
            }
            None => painter::create(host, &self.workplace.create, prompt, progress).await?,
        };
        // only now: what was not made is not counted, and two at a time do not make one too many
        if is_counted {
            self.visitor.count_one(host, self.settings).await?;
        }
        let kept = self.keep(host, &painted, parent).await;
        if kept.is_err() && is_counted {
            self.visitor.uncount_one(host).await?;
        }
        kept.map(|(gallery, picture)| (gallery, picture, painted.notes))
    }

    async fn keep<H: Studio>(
        &self,
        host: &H,
        painted: &Painted<H::Image>,
        parent: Option<String>,
    ) -> Result<(Gallery, Picture), Failure> {
        let (moment, size) = (Moment::from_unix(host.unix_seconds()), host.size(&painted.image));
        let [a, b, c] = visitor::random()?;
        let picture = Picture {
            name: format!("{}-{a:02x}{b:02x}{c:02x}.webp", moment.compact()),
            prompt: painted.prompt.clone(),
            command: self.said.chars().take(KEPT_COMMAND).collect(),
            action: self.intention.action.name().to_owned(),
            parent,
            width: size.width,
            height: size.height,
            created: moment.written(),
            seed: painted.seed,
            mode: self.workplace.mode.name().to_owned(),
            model: painted.model.clone(),
        };
        let add = |gallery: &mut Gallery| gallery.add(picture.clone());
        let kept = match pictures::keep(host, &picture.name, &painted.image).await {
            Ok(()) => Gallery::change(host, &self.visitor.owner, add).await,
            Err(failure) => Err(failure),
        };
        if kept.is_err() {
            pictures::discard(host, &picture.name).await?;
        }
        kept.map(|(gallery, ())| (gallery, picture))
    }
}
