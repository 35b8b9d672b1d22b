//! Pictures of a server: requests as plain values, those of `provider-images` in `wit/provider.wit`, where each is described, and
//! what a provider has to say of its server's part. A server that sends unfinished pictures is not here yet, so that nobody is
//! asked for any.

use crate::values::{refuse_given, seed_up_to};
use crate::{Ask, Error, Protocol};

/// What to make, and how. The host has checked the ranges.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureRequest {
    /// The model's name at the server.
    pub model: String,
    /// What to show.
    pub prompt: String,
    /// What not to show.
    pub negative_prompt: Option<String>,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// How many pictures.
    pub count: u32,
    /// Denoising steps.
    pub steps: Option<u32>,
    /// Guidance scale.
    pub guidance: Option<f64>,
    /// The first picture's.
    pub seed: Option<u64>,
    /// What is made of what.
    pub task: PictureTask,
}

/// What is made of what. Pictures are PNG files.
#[derive(Debug, Clone, PartialEq)]
pub enum PictureTask {
    /// A picture from the prompt alone.
    TextToImage,
    /// One that starts from another.
    ImageToImage {
        /// That one.
        picture: Vec<u8>,
        /// How far from it the result may go.
        strength: Option<f64>,
    },
    /// One that was changed.
    Edit {
        /// What is changed.
        picture: Vec<u8>,
        /// How closely the result keeps to it.
        guidance: Option<f64>,
    },
    /// One of which a part was painted anew.
    Inpaint {
        /// All of it.
        picture: Vec<u8>,
        /// The same, transparent where it is painted.
        mask: Vec<u8>,
        /// How far from it that part may go.
        strength: Option<f64>,
    },
}

impl PictureRequest {
    /// One square picture from a prompt, everything else left to the server.
    pub fn plain(model: &str, prompt: &str) -> Self {
        Self {
            model: model.into(),
            prompt: prompt.into(),
            negative_prompt: None,
            width: 1_024,
            height: 1_024,
            count: 1,
            steps: None,
            guidance: None,
            seed: None,
            task: PictureTask::TextToImage,
        }
    }

    /// Refuses what a server's interface has no place for, by the name of the first that was given.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field.
    pub fn without(&self, fields: &[&'static str], server: &str) -> Result<(), Error> {
        use PictureTask::{Edit, ImageToImage, Inpaint};
        let given = |field: &str| match field {
            "negative-prompt" => self.negative_prompt.is_some(),
            "steps" => self.steps.is_some(),
            "guidance" => self.guidance.is_some(),
            "seed" => self.seed.is_some(),
            "strength" => matches!(
                self.task,
                ImageToImage { strength: Some(_), .. } | Inpaint { strength: Some(_), .. }
            ),
            "image-guidance" => matches!(self.task, Edit { guidance: Some(_), .. }),
            _ => false,
        };
        refuse_given(fields, given, server)
    }

    /// The seed, where the server's numbers end at `most`.
    ///
    /// # Errors
    /// [`Error::Invalid`] says where they end.
    pub fn seed_up_to(&self, most: u64, server: &str) -> Result<Option<u64>, Error> {
        seed_up_to(self.seed, most, server)
    }

    /// Refuses more pictures than the server makes at a time.
    ///
    /// # Errors
    /// [`Error::Invalid`] says how many.
    pub fn count_up_to(&self, most: u32, server: &str) -> Result<u32, Error> {
        if self.count > most {
            let reason = format!("{} pictures; {server} makes at most {most} at a time", self.count);
            return Err(Error::invalid("count", reason));
        }
        Ok(self.count)
    }
}

/// What a server made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Files of pictures, in order.
    pub files: Vec<Vec<u8>>,
    /// What a user should know.
    pub notes: Vec<String>,
}

/// A server that has models of pictures as well.
pub trait Draws: Protocol {
    /// What to send for a request.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what the server's interface has no place for.
    fn ask_for_pictures(&self, request: &PictureRequest) -> Result<Ask, Error>;

    /// The pictures of a whole answer whose status says that there are some.
    ///
    /// # Errors
    /// What the answer says went wrong, or that it makes no sense.
    fn pictures(&self, body: &[u8]) -> Result<Drawn, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_refused_by_name_and_nothing_else_is() {
        let all = ["negative-prompt", "steps", "guidance", "seed", "strength", "image-guidance"];
        let plain = PictureRequest::plain("m", "a boat");
        assert_eq!(plain.without(&all, "it"), Ok(()));
        let edit = PictureTask::Edit { picture: Vec::new(), guidance: Some(2.0) };
        for (request, named) in [
            (PictureRequest { negative_prompt: Some("fog".into()), ..plain.clone() }, "negative-prompt"),
            (PictureRequest { seed: Some(7), ..plain.clone() }, "seed"),
            (PictureRequest { task: edit, ..plain.clone() }, "image-guidance"),
        ] {
            assert!(matches!(request.without(&all, "it"), Err(Error::Invalid(field, _)) if field == named));
            assert_eq!(request.without(&["steps"], "it"), Ok(()));
        }
        let two = PictureRequest { count: 2, ..plain };
        assert!(matches!(two.count_up_to(1, "it"), Err(Error::Invalid("count", _))));
        assert_eq!(two.count_up_to(2, "it"), Ok(2));
    }
}
