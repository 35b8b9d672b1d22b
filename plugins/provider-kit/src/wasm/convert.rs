//! Between the binding types and the plain values, field by field.

use crate::bindings::atelier::host::provider_types::{Invalid, Outage};
use crate::bindings::exports::atelier::host::provider_language as wit;
use crate::bindings::pictures::exports::atelier::host::provider_images as images;
use crate::bindings::speech::exports::atelier::host::provider_speech as spoken;
use crate::{pictures, speech, values};

impl From<wit::Request> for values::Request {
    fn from(request: wit::Request) -> Self {
        Self {
            model: request.model,
            turns: request.turns.into_iter().map(Into::into).collect(),
            max_tokens: request.max_tokens,
            temperature: request.temperature,
            top_k: request.top_k,
            top_p: request.top_p,
            min_p: request.min_p,
            repeat_penalty: request.repeat_penalty,
            seed: request.seed,
            stop: request.stop,
            schema: request.schema,
        }
    }
}

impl From<wit::Turn> for values::Turn {
    fn from(wit::Turn { role, text }: wit::Turn) -> Self {
        let role = match role {
            wit::Role::System => values::Role::System,
            wit::Role::User => values::Role::User,
            wit::Role::Assistant => values::Role::Assistant,
        };
        Self { role, text }
    }
}

impl From<values::Part> for wit::Part {
    fn from(part: values::Part) -> Self {
        match part {
            values::Part::Said(text) => Self::Said(text),
            values::Part::End(end) => Self::End(end.into()),
            values::Part::Failed(error) => Self::Failed(error.into()),
        }
    }
}

impl From<values::End> for wit::End {
    fn from(values::End { finish, usage, notes }: values::End) -> Self {
        let finish = match finish {
            values::Finish::End => wit::Finish::End,
            values::Finish::Length => wit::Finish::Length,
            values::Finish::StopString => wit::Finish::StopString,
        };
        let usage = usage.map(|usage| wit::Usage {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            reply_tokens: usage.reply_tokens,
        });
        Self { finish, usage, notes }
    }
}

impl From<values::Error> for wit::Error {
    fn from(error: values::Error) -> Self {
        match error {
            values::Error::Unavailable(reason, retry_after_ms) => {
                Self::Unavailable(Outage { reason, retry_after_ms })
            }
            values::Error::TimedOut(text) => Self::TimedOut(text),
            values::Error::Invalid(field, reason) => Self::Invalid(Invalid { field: field.into(), reason }),
            values::Error::Refused(text) => Self::Refused(text),
            values::Error::Unauthorised(text) => Self::Unauthorised(text),
            values::Error::OverQuota(reason, retry_after_ms) => {
                Self::OverQuota(Outage { reason, retry_after_ms })
            }
            values::Error::Malformed(text) => Self::Malformed(text),
            values::Error::Other(text) => Self::Other(text),
        }
    }
}

impl From<images::Request> for pictures::PictureRequest {
    fn from(request: images::Request) -> Self {
        Self {
            model: request.model,
            prompt: request.prompt,
            negative_prompt: request.negative_prompt,
            width: request.width,
            height: request.height,
            count: request.count,
            steps: request.steps,
            guidance: request.guidance,
            seed: request.seed,
            task: request.task.into(),
        }
    }
}

impl From<images::Task> for pictures::PictureTask {
    fn from(task: images::Task) -> Self {
        match task {
            images::Task::TextToImage => Self::TextToImage,
            images::Task::ImageToImage(images::Start { picture, strength }) => {
                Self::ImageToImage { picture, strength }
            }
            images::Task::Edit(images::Edit { picture, guidance }) => Self::Edit { picture, guidance },
            images::Task::Inpaint(images::PartAnew { picture, mask, strength }) => {
                Self::Inpaint { picture, mask, strength }
            }
        }
    }
}

impl From<spoken::Request> for speech::SpeechRequest {
    fn from(request: spoken::Request) -> Self {
        Self {
            model: request.model,
            audio: request.audio,
            language: request.language,
            is_translated: request.task == spoken::Task::Translate,
            timestamps: match request.timestamps {
                spoken::Timestamps::None => speech::Timestamps::None,
                spoken::Timestamps::Segments => speech::Timestamps::Segments,
                spoken::Timestamps::Words => speech::Timestamps::Words,
            },
            temperature: request.temperature,
            prompt: request.prompt,
        }
    }
}

impl From<speech::Transcript> for spoken::Transcript {
    fn from(transcript: speech::Transcript) -> Self {
        let word = |speech::Word { word, start, end }| spoken::Word { word, start, end };
        Self {
            text: transcript.text,
            language: transcript.language,
            segments: transcript.segments.into_iter().map(Into::into).collect(),
            words: transcript.words.into_iter().map(word).collect(),
            notes: transcript.notes,
        }
    }
}

impl From<speech::Segment> for spoken::Segment {
    fn from(speech::Segment { start, end, text, certainty }: speech::Segment) -> Self {
        let certainty = certainty.map(|it| spoken::Certainty {
            avg_logprob: it.avg_logprob,
            compression_ratio: it.compression_ratio,
            no_speech_prob: it.no_speech_prob,
            temperature: it.temperature,
        });
        Self { start, end, text, certainty }
    }
}
