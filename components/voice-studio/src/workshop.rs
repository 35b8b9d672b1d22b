//! Where a command's work is done: by the backend that BACKEND_URL names, or by this host's models. A backend that is not there,
//! or is gone in the middle, is replaced by what is here, and a note says so. What became of a command is the same either way.

use atelier_kit::intent::Intention;
use serde_json::{Value, json};

use crate::api::Studio;
use crate::failure::{BUSY_MS, Failure};
use crate::hear::{self, Heard};
use crate::modes::{self, MODES, Mode, Workplace};
use crate::painter::{self, Painted, Wish};
use crate::pictures;
use crate::progress::{Follow, Progress};
use crate::relay::{Backend, Offer, Snag};
use crate::settings::Settings;

/// Who works.
enum Place {
    Here(Box<Workplace>),
    There(Backend),
}

/// What a user should know, and a code by which a page says it in other words.
pub(crate) struct Note {
    pub(crate) code: Option<&'static str>,
    pub(crate) text: String,
}

impl Note {
    /// What a model or the host says; it has no code.
    pub(crate) fn plain(text: String) -> Self {
        Self { code: None, text }
    }
}

/// A place to work, for one command.
pub(crate) struct Workshop<'a, H> {
    host: &'a H,
    settings: &'a Settings,
    mode: Mode,
    place: Place,
    /// What a user should know.
    pub(crate) notes: Vec<Note>,
}

impl<'a, H: Studio> Workshop<'a, H> {
    /// The backend where one is configured and answers, or this host. Cloud models are always asked from here.
    pub(crate) async fn open(host: &'a H, settings: &'a Settings, mode: Mode) -> Result<Self, Failure> {
        let backend = settings.backend.as_ref().filter(|_| mode != Mode::Cloud).map(Backend::of);
        let why = match backend {
            Some(backend) => match backend.offer(host).await {
                Ok(_) => {
                    let place = Place::There(backend);
                    return Ok(Self { host, settings, mode, place, notes: Vec::new() });
                }
                Err(why) => Some(why),
            },
            None => None,
        };
        let (workplace, notes) = here(host, settings, mode, why).await?;
        Ok(Self { host, settings, mode, place: Place::Here(Box::new(workplace)), notes })
    }

    /// Writes a recording down.
    pub(crate) async fn hear(
        &mut self,
        bytes: Vec<u8>,
        language: Option<String>,
        progress: &mut Progress,
    ) -> Result<Heard, Failure> {
        if let Place::There(backend) = &self.place {
            match backend.transcribe(self.host, &bytes, language.as_deref()).await {
                Ok(heard) => return Ok(heard),
                Err(snag) => self.leave(snag).await?,
            };
        }
        let wanted = match &self.place {
            Place::Here(workplace) => workplace.listen.as_deref(),
            Place::There(_) => None,
        };
        let Some(wanted) = wanted else {
            return hear::hear(self.host, self.settings, bytes, language, progress).await;
        };
        let recording = (bytes, language);
        let (heard, note) = hear::hear_with(self.host, self.settings, wanted, recording, progress).await?;
        self.notes.extend(note.map(Note::plain));
        Ok(heard)
    }

    /// Says what a command asks for.
    pub(crate) async fn understand(&mut self, command: &str) -> Result<Intention, Failure> {
        if let Place::There(backend) = &self.place {
            match backend.understand(self.host, command).await {
                Ok(intention) => return Ok(intention),
                Err(snag) => self.leave(snag).await?,
            };
        }
        Ok(self.host.interpret(command.to_owned()).await?)
    }

    /// Makes a picture, or changes the one of a name. Says in which mode.
    pub(crate) async fn paint(
        &mut self,
        prompt: &str,
        parent: Option<&str>,
        progress: &mut impl Follow,
    ) -> Result<(Painted<H::Image>, Mode), Failure> {
        let (host, wish) = (self.host, Wish { prompt, seed: None });
        let workplace = match &self.place {
            Place::Here(workplace) => Workplace::clone(workplace),
            Place::There(backend) => {
                let picture = match parent {
                    Some(name) => Some(pictures::bytes(host, name).await?),
                    None => None,
                };
                match backend.paint(host, self.mode, prompt, picture, progress).await {
                    Ok(found) => return Ok(found),
                    Err(snag) => self.come_home(snag.gone()?).await?,
                }
            }
        };
        let painted = match parent {
            Some(name) => {
                let picture = pictures::load(host, name).await?;
                painter::edit(host, &workplace.edit, &picture, wish, progress).await?
            }
            None => painter::create(host, &workplace.create, wish, progress).await?,
        };
        Ok((painted, workplace.mode))
    }

    /// Goes on with what is here, unless the backend is well and only has much to do: then it is not away, and what it was asked may
    /// be asked again.
    async fn leave(&mut self, snag: Snag) -> Result<Workplace, Failure> {
        if let (Place::There(backend), Snag::Silent(_)) = (&self.place, &snag)
            && backend.offer(self.host).await.is_ok()
        {
            let text =
                "the backend (BACKEND_URL) has much to do and did not answer in time; try again in a moment";
            return Err(Failure::new(429, "busy", text).until(BUSY_MS));
        }
        self.come_home(snag.gone()?).await
    }

    /// Goes on with what is here.
    async fn come_home(&mut self, why: String) -> Result<Workplace, Failure> {
        let (workplace, notes) = here(self.host, self.settings, self.mode, Some(why)).await?;
        self.notes.extend(notes);
        self.place = Place::Here(Box::new(workplace.clone()));
        Ok(workplace)
    }
}

/// This host's models, and what a user should know of it; `why` is what became of the backend, where there should be one.
async fn here(
    host: &impl Studio,
    settings: &Settings,
    mode: Mode,
    why: Option<String>,
) -> Result<(Workplace, Vec<Note>), Failure> {
    let found = modes::workplace(host, mode, settings).await;
    let Some(why) = why else {
        let workplace = found?;
        let notes = replaced(&workplace).into_iter().collect();
        return Ok((workplace, notes));
    };
    let workplace = found.map_err(|here| {
        let text =
            format!("the backend (BACKEND_URL) is not to be had: {why}; and on this server {}", here.text());
        Failure::new(502, "no_backend", text)
    })?;
    let text = format!("this server's own models were used: the backend is not to be had, {why}");
    let away = Note { code: Some("backend_away"), text };
    let notes = [away].into_iter().chain(replaced(&workplace)).collect();
    Ok((workplace, notes))
}

/// That another mode works than the one that was chosen.
fn replaced(workplace: &Workplace) -> Option<Note> {
    let text = workplace.note.clone()?;
    Some(Note { code: Some("mode_replaced"), text })
}

/// Which modes can be worked in, here or at the backend, as `check_backend` answers.
pub(crate) async fn check(host: &impl Studio, settings: &Settings) -> Value {
    let mut answer = modes::check(host, settings).await;
    let Some(server) = &settings.backend else { return answer };
    match Backend::of(server).offer(host).await {
        Err(why) => answer["backend"] = json!({"available": false, "reason": why}),
        Ok(Offer { modes }) => {
            for mode in modes {
                answer["modes"][mode.name()] = json!({"available": true});
            }
            answer["backend"] = json!({"available": true});
        }
    }
    let is_there = |mode: &Mode| answer["modes"][mode.name()]["available"] == json!(true);
    let default = MODES.into_iter().find(is_there).map(Mode::name);
    answer["available"] = default.is_some().into();
    answer["default_mode"] = default.into();
    answer
}
