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
    /// Writes recordings down; the one of every mode where it is left out.
    pub(crate) listen: Option<String>,
    pub(crate) create: String,
    /// The model's own where it is left out.
    pub(crate) create_steps: Option<u32>,
    pub(crate) edit: String,
    pub(crate) edit_steps: Option<u32>,
}

/// Which of the original's two servers a route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serve {
    /// The page and what it asks, below `/kuvagen`. Nothing of the backend: whoever reaches that has no limit.
    Studio,
    /// The backend's endpoints.
    Backend,
    /// Both of them beside each other.
    Both,
}

/// Another of these servers, which does a studio's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Where its endpoints are, without a slash at the end.
    pub(crate) url: String,
    /// Sent as a bearer token.
    pub(crate) key: Option<String>,
}

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) max_images: u64,
    /// Which of the route's models listens: one whose id is this, or ends in `-` and this.
    pub(crate) listener: Option<String>,
    pub(crate) local_fast: Recipe,
    pub(crate) local_quality: Recipe,
    pub(crate) cloud: Recipe,
    /// What cookies are signed with; one of the handler's own making where it is left out.
    pub(crate) secret: Option<String>,
    /// Whether browsers may send cookies over encrypted connections only.
    pub(crate) secure_cookies: bool,
    /// Who does the work of the local modes; this host's models where it is left out.
    pub(crate) backend: Option<Server>,
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
        // keys are the host's, which hands them to its providers alone (`api-key-env`)
        let without = ["OPENAI_API_KEY", "GEMINI_API_KEY", "OLLAMA_MODEL"];
        Ok(Self {
            max_images,
            listener: config("LOCAL_MODEL_SIZE"),
            local_fast: Recipe::read(config("local-fast"), "local-fast", Recipe::fast())?,
            local_quality: Recipe::read(config("local-quality"), "local-quality", Recipe::quality())?,
            cloud: Recipe::read(config("cloud"), "cloud", Recipe::cloud(config("CLOUD_PROVIDER"))?)?,
            secret: config("secret"),
            secure_cookies,
            backend: Server::read(config("BACKEND_URL"), config("BACKEND_API_KEY"))?,
            without_effect: without.into_iter().filter(|key| config(key).is_some()).collect(),
        })
    }
}

impl Serve {
    /// From `serve`: the studio, unless it says otherwise.
    pub(crate) fn read(host: &impl Host) -> Result<Self, Failure> {
        match given(host, "serve").as_deref() {
            None | Some("studio") => Ok(Self::Studio),
            Some("backend") => Ok(Self::Backend),
            Some("both") => Ok(Self::Both),
            Some(text) => Err(wrong("serve", &format!("wants studio, backend or both, not `{text}`"))),
        }
    }

    pub(crate) fn has_studio(self) -> bool {
        self != Self::Backend
    }

    pub(crate) fn has_backend(self) -> bool {
        self != Self::Studio
    }
}

impl Server {
    /// From an address such as `http://gpu.internal:8000`, which may have a path, and the key that is sent there.
    fn read(url: Option<String>, key: Option<String>) -> Result<Option<Self>, Failure> {
        let Some(url) = url else { return Ok(None) };
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let is_plain = |rest: &str| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@".contains(&byte))
        };
        if !rest.is_some_and(is_plain) {
            // an address may hold what is nobody's business, so it is not repeated
            return Err(wrong("BACKEND_URL", "wants an address such as http://gpu.internal:8000"));
        }
        Ok(Some(Self { url: url.trim_end_matches('/').to_owned(), key }))
    }
}

impl Recipe {
    /// SDXL-Lightning in 4 steps and InstructPix2Pix.
    fn fast() -> Self {
        let (create, edit) = ("sdxl-lightning".to_owned(), "instruct-pix2pix".to_owned());
        Self { listen: None, create, create_steps: Some(4), edit, edit_steps: None }
    }

    /// SDXL-Lightning in 8 steps and CosXL-Edit.
    fn quality() -> Self {
        Self { create_steps: Some(8), edit: "cosxl-edit".to_owned(), ..Self::fast() }
    }

    /// OpenAI's Whisper, and DALL-E 3 with the model that changes pictures beside it, or Gemini, which does both.
    fn cloud(provider: Option<String>) -> Result<Self, Failure> {
        let (create, edit) = match provider.as_deref() {
            None | Some("google") => ("gemini-2.5-flash-image", "gemini-2.5-flash-image"),
            Some("openai") => ("dall-e-3", "gpt-image-1"),
            Some(text) => {
                return Err(wrong("CLOUD_PROVIDER", &format!("wants openai or google, not `{text}`")));
            }
        };
        let (listen, create, edit) = (Some("whisper-1".to_owned()), create.to_owned(), edit.to_owned());
        Ok(Self { listen, create, create_steps: None, edit, edit_steps: None })
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
                "listen" => recipe.listen = Some(value),
                "create-steps" => recipe.create_steps = steps()?,
                "edit-steps" => recipe.edit_steps = steps()?,
                "create" => (recipe.create, recipe.create_steps) = (value, None),
                "edit" => (recipe.edit, recipe.edit_steps) = (value, None),
                _ => {
                    let known = "listen, create, create-steps, edit, edit-steps";
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
    fn the_cloud_is_the_one_that_is_named() {
        let cloud = |name: Option<&str>| Recipe::cloud(name.map(Into::into));
        assert_eq!(cloud(None), cloud(Some("google")));
        let openai = cloud(Some("openai")).expect("a recipe");
        assert_eq!((openai.create.as_str(), openai.edit.as_str()), ("dall-e-3", "gpt-image-1"));
        assert!(cloud(Some("azure")).expect_err("unknown").text().contains("openai or google"));
        let own = Recipe::read(Some("listen=ear, edit=mine".into()), "cloud", openai).expect("a recipe");
        assert_eq!((own.listen.as_deref(), own.create.as_str()), (Some("ear"), "dall-e-3"));
    }

    #[test]
    fn a_backends_address_is_one_of_http() {
        let read = |url: &str| Server::read(Some(url.into()), None);
        let server = Server { url: "https://gpu:8000/a".into(), key: None };
        assert_eq!(read("https://gpu:8000/a/"), Ok(Some(server)));
        for wrong in
            ["gpu:8000", "http://", "http://a b", "http://me:secret@gpu", "http://gpu?x", "file:///etc"]
        {
            let failure = read(wrong).expect_err(wrong);
            assert!(failure.text().contains("BACKEND_URL") && !failure.text().contains("secret"), "{wrong}");
        }
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
