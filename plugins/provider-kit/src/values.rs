//! Requests, replies and errors as plain values: those of `provider-language` in `wit/provider.wit`, where each is described.

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Says beforehand how the assistant is to be.
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    pub text: String,
}

/// What to reply to, and how. The host has checked the ranges.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The model's name at the server.
    pub model: String,
    /// The last one is the user's.
    pub turns: Vec<Turn>,
    /// Most tokens of the reply.
    pub max_tokens: u32,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 for all.
    pub top_k: Option<u32>,
    /// Above 0 to 1.
    pub top_p: Option<f64>,
    /// 0 to 1.
    pub min_p: Option<f64>,
    /// 0.5 to 2.
    pub repeat_penalty: Option<f64>,
    /// Of what is drawn.
    pub seed: Option<u64>,
    /// Texts before which the reply ends.
    pub stop: Vec<String>,
    /// A JSON schema that the reply is to fit.
    pub schema: Option<String>,
}

impl Request {
    /// The same model asked one thing, everything else left to the server.
    pub fn plain(model: &str, text: &str) -> Self {
        Self {
            model: model.into(),
            turns: vec![Turn { role: Role::User, text: text.into() }],
            max_tokens: 512,
            temperature: None,
            top_k: None,
            top_p: None,
            min_p: None,
            repeat_penalty: None,
            seed: None,
            stop: Vec::new(),
            schema: None,
        }
    }

    /// Refuses the options that a server's interface has no place for, by the name of the first that was given.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field.
    pub fn without(&self, fields: &[&'static str], server: &str) -> Result<(), Error> {
        let given = |field: &str| match field {
            "temperature" => self.temperature.is_some(),
            "top-k" => self.top_k.is_some(),
            "top-p" => self.top_p.is_some(),
            "min-p" => self.min_p.is_some(),
            "repeat-penalty" => self.repeat_penalty.is_some(),
            "seed" => self.seed.is_some(),
            "stop" => !self.stop.is_empty(),
            "schema" => self.schema.is_some(),
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

    /// The stop strings, of which the server takes so many.
    ///
    /// # Errors
    /// [`Error::Invalid`] says how many.
    pub fn stop_up_to(&self, most: usize, server: &str) -> Result<&[String], Error> {
        let count = self.stop.len();
        if count > most {
            return Err(Error::invalid("stop", format!("{count} texts; {server} takes at most {most}")));
        }
        Ok(&self.stop)
    }

    /// The schema as JSON. The host has parsed it before.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is none.
    pub fn schema(&self) -> Result<Option<serde_json::Value>, Error> {
        let parse = |text: &String| {
            serde_json::from_str(text)
                .map_err(|error| Error::invalid("schema", format!("is no JSON: {error}")))
        };
        self.schema.as_ref().map(parse).transpose()
    }
}

/// Refuses those of these options that the request has.
pub(crate) fn refuse_given(
    fields: &[&'static str],
    given: impl Fn(&str) -> bool,
    server: &str,
) -> Result<(), Error> {
    match fields.iter().find(|field| given(field)) {
        Some(field) => Err(Error::invalid(field, format!("{server} has no such option; leave it out"))),
        None => Ok(()),
    }
}

/// A seed, where the server's numbers end at `most`.
pub(crate) fn seed_up_to(seed: Option<u64>, most: u64, server: &str) -> Result<Option<u64>, Error> {
    match seed {
        Some(seed) if seed > most => {
            Err(Error::invalid("seed", format!("{seed} is more than {most}, the largest of {server}")))
        }
        seed => Ok(seed),
    }
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model said that it had ended.
    End,
    /// It had as many tokens as it might.
    Length,
    /// A stop string would have come next.
    StopString,
}

/// Tokens, as the server counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the conversation.
    pub prompt_tokens: u32,
    /// Of these, what the server had read before.
    pub cached_tokens: u32,
    /// Of the reply, with thoughts that are not shown.
    pub reply_tokens: u32,
}

/// The end of a whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Why there.
    pub finish: Finish,
    /// What it took, if the server told.
    pub usage: Option<Usage>,
    /// What a user should know.
    pub notes: Vec<String>,
}

/// A piece of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text that will stay.
    Said(String),
    /// The reply is whole; the last part.
    End(End),
    /// It broke off; the last part.
    Failed(Error),
}

/// Why there is no answer. Texts are safe to show: no key, no address, nothing of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// May pass; with the milliseconds after which the server wants to be asked again.
    Unavailable(String, Option<u64>),
    /// No answer in time.
    TimedOut(String),
    /// A field of the request, and what is wrong with it.
    Invalid(&'static str, String),
    /// The server's rules forbid it.
    Refused(String),
    /// The key is not accepted.
    Unauthorised(String),
    /// The account is used up; with the milliseconds after which that changes, if told.
    OverQuota(String, Option<u64>),
    /// No answer of this protocol.
    Malformed(String),
    /// Anything else.
    Other(String),
}

impl Error {
    /// A field of the request that the server does not take.
    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid(field, reason.into())
    }
}
