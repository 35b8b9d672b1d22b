//! What the route's configuration says, under the names of the system that this handler replaces where it had one.

use atelier_kit::Host;
use atelier_kit::settings::{given, pairs};

use crate::failure::Failure;

/// How many pictures a visitor makes before an account is wanted, unless the configuration says so.
const MAX_IMAGES: u64 = 10;

/// The bucket that the route must be granted: galleries, accounts and counts.
pub(crate) const BUCKET: &str = "voice-studio";
/// The container that the route must be granted: pictures.
pub(crate) const CONTAINER: &str = "voice-studio";

/// The models of a mode and how they run, as the configuration names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) create: String,
    /// The model's own where it is left out.
    pub(crate) create_steps: Option<u32>,
    pub(crate) edit: String,
    pub(crate) edit_steps: Option<u32>,
}

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) max_images: u64,
    /// Which of the route's models listens: one whose id is this, or ends in `-` and this.
    pub(crate) listener: Option<String>,
    pub(crate) local_fast: Recipe,
    pub(crate) local_quality: Recipe,
    /// What cookies are signed with; one of the handler's own making where it is left out.
    pub(crate) secret: Option<String>,
    /// Whether browsers may send cookies over encrypted connections only.
    pub(crate) secure_cookies: bool,
    /// Keys that are set and have no effect yet.
    pub(crate) without_effect: Vec<&'static str>,
}

impl Settings {
    /// Reads them all; the text of an error names the key.
    pub(crate) fn read(host: &impl Host) -> Result<Self, Failure> {
        let config = |key: &str| given(host, key);
        let max_images = match config("MAX_IMAGES_WITHOUT_LOGIN") {
            None => MAX_IMAGES,
            Some(text) => text.parse().map_err(|_| {
                wrong("MAX_IMAGES_WITHOUT_LOGIN", &format!("wants a whole number, not `{text}`"))
            })?,
        };
        let secure_cookies = match config("secure-cookies").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(text) => return Err(wrong("secure-cookies", &format!("wants true or false, not `{text}`"))),
        };
        let cloud = ["BACKEND_URL", "CLOUD_PROVIDER", "OPENAI_API_KEY", "GEMINI_API_KEY", "OLLAMA_MODEL"];
        Ok(Self {
            max_images,
            listener: config("LOCAL_MODEL_SIZE"),
            local_fast: Recipe::read(config("local-fast"), "local-fast", Recipe::fast())?,
            local_quality: Recipe::read(config("local-quality"), "local-quality", Recipe::quality())?,
            secret: config("secret"),
            secure_cookies,
            without_effect: cloud.into_iter().filter(|key| config(key).is_some()).collect(),
        })
    }
}

impl Recipe {
    /// SDXL-Lightning in 4 steps and InstructPix2Pix.
    fn fast() -> Self {
        let (create, edit) = ("sdxl-lightning".to_owned(), "instruct-pix2pix".to_owned());
        Self { create, create_steps: Some(4), edit, edit_steps: None }
    }

    /// SDXL-Lightning in 8 steps and CosXL-Edit.
    fn quality() -> Self {
        Self { create_steps: Some(8), edit: "cosxl-edit".to_owned(), ..Self::fast() }
    }

    /// From a text such as `create=nano, create-steps=20, edit=nano-edit`. Whatever it leaves out is the mode's own; another
    /// model's steps are not.
    fn read(text: Option<String>, key: &str, own: Self) -> Result<Self, Failure> {
        let Some(text) = text else { return Ok(own) };
        let mut recipe = own;
        let pairs = pairs(&text).ok_or_else(|| {
            wrong(key, &format!("`{text}` cannot be used; write \"create=the-models-id, create-steps=20\""))
        })?;
        for (name, value) in pairs {
            let steps = || {
                let number = value.parse().ok().filter(|steps| (1..=150).contains(steps));
                number.ok_or_else(|| wrong(key, &format!("`{name}` wants 1 to 150, not `{value}`"))).map(Some)
            };
            match name.as_str() {
                "create-steps" => recipe.create_steps = steps()?,
                "edit-steps" => recipe.edit_steps = steps()?,
                "create" => (recipe.create, recipe.create_steps) = (value, None),
                "edit" => (recipe.edit, recipe.edit_steps) = (value, None),
                _ => {
                    let known = "create, create-steps, edit, edit-steps";
                    return Err(wrong(key, &format!("there is no `{name}`; there is {known}")));
                }
            }
        }
        Ok(recipe)
    }
}

fn wrong(key: &str, text: &str) -> Failure {
    Failure::new(500, "failed", format!("the route's configuration `{key}`: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Recipe, Failure> {
        Recipe::read(Some(text.into()), "local-fast", Recipe::fast())
    }

    #[test]
    fn another_model_has_its_own_steps_unless_they_are_said() {
        let nano = read("create=nano, edit = nano-edit,edit-steps=30").expect("a recipe");
        assert_eq!((nano.create.as_str(), nano.create_steps), ("nano", None));
        assert_eq!((nano.edit.as_str(), nano.edit_steps), ("nano-edit", Some(30)));
        assert_eq!(read("create-steps=2").map(|recipe| recipe.create_steps), Ok(Some(2)));
    }

    #[test]
    fn what_is_no_setting_is_named() {
        for (text, part) in [
            ("nano", "`nano` cannot be used"),
            ("make=a", "no `make`"),
            ("edit-steps=0", "1 to 150"),
            ("edit=", "`edit=` cannot be used"),
        ] {
            let failure = read(text).expect_err(text);
            assert!(failure.event()["message"].to_string().contains(part), "{failure:?}");
        }
    }
}
