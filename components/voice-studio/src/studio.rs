//! From a command to the next picture: hear, understand, then draw, change or go back, and keep what came of it. Dropping the
//! future at any point drops the job that it waits for, which ends it before its next step.

use atelier_kit::intent::{Action, Intention};
use atelier_kit::time::Moment;
use serde_json::{Value, json};

use crate::api::Studio;
use crate::command::{Command, Source};
use crate::failure::Failure;
use crate::gallery::{Gallery, Picture};
use crate::modes::Mode;
use crate::painter::Painted;
use crate::pictures;
use crate::progress::{Progress, Tell};
use crate::settings::Settings;
use crate::visitor::{self, Visitor, limit_reached, session_info};
use crate::workshop::{Note, Workshop};

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
    let mut workshop = Workshop::open(host, settings, command.mode).await?;
    let (said, language) = said(&mut workshop, command.source, command.language, progress).await?;
    progress.heard(&said, language.as_deref()).await;
    let intention = workshop.understand(&said).await?;
    progress.understood(&intention).await;
    let mut notes = Vec::new();
    let image = command.image;
    let gallery = match intention.action {
        Action::None => None,
        Action::Undo => {
            Some(Gallery::change(host, &visitor.owner, |gallery| go_back(gallery, image.as_deref())).await?)
        }
        Action::Create | Action::Edit => {
            let task = Task { visitor, settings, said: &said, intention: &intention };
            let (gallery, picture, more) = task.make(host, &mut workshop, image.as_deref(), progress).await?;
            notes = more;
            Some((gallery, picture))
        }
    };
    let (gallery, picture) = match gallery {
        Some((gallery, picture)) => (gallery, Some(picture)),
        None => (Gallery::load(host, &visitor.owner).await?, None),
    };
    let notes: Vec<_> = workshop.notes.into_iter().chain(notes.into_iter().map(Note::plain)).collect();
    Ok(json!({
        "action": intention.action.name(),
        "image": picture.as_ref().map(Picture::shown),
        "current": gallery.current(),
        "session": session_info(host, visitor, &gallery, settings).await?,
        "notes": notes.iter().map(|note| note.text.as_str()).collect::<Vec<_>>(),
        "note_codes": notes.iter().map(|note| note.code).collect::<Vec<_>>(),
    }))
}

/// What is said in the recording, or written, and in which language.
async fn said<H: Studio>(
    workshop: &mut Workshop<'_, H>,
    source: Source,
    language: Option<String>,
    progress: &mut Progress,
) -> Result<(String, Option<String>), Failure> {
    let bytes = match source {
        Source::Written(text) => return Ok((text.trim().to_owned(), None)),
        Source::Audio(bytes) => bytes,
    };
    let heard = workshop.hear(bytes, language, progress).await?;
    if heard.text.is_empty() {
        let text = "nothing was heard; hold the button while you speak";
        return Err(Failure::new(422, "nothing_heard", text));
    }
    Ok((heard.text, heard.language))
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
    said: &'a str,
    intention: &'a Intention,
}

impl Task<'_> {
    /// Makes and keeps it; gives the gallery with it, and what a user should know.
    async fn make<H: Studio>(
        &self,
        host: &H,
        workshop: &mut Workshop<'_, H>,
        image: Option<&str>,
        progress: &mut Progress,
    ) -> Result<(Gallery, Picture, Vec<String>), Failure> {
        let gallery = Gallery::load(host, &self.visitor.owner).await?;
        // before anything is drawn for it
        gallery.has_room()?;
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
        let (painted, mode) = workshop.paint(prompt, parent.as_deref(), progress).await?;
        // whoever made pictures is kept a number of, and nobody else; only now: what was not made is not counted, and two at a time do not make one too many
        if is_counted {
            self.visitor.count_one(host, self.settings).await?;
        }
        let kept = self.keep(host, &painted, mode, parent).await;
        if kept.is_err() && is_counted {
            self.visitor.uncount_one(host).await?;
        }
        kept.map(|(gallery, picture)| (gallery, picture, painted.notes))
    }

    async fn keep<H: Studio>(
        &self,
        host: &H,
        painted: &Painted<H::Image>,
        mode: Mode,
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
            mode: mode.name().to_owned(),
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
