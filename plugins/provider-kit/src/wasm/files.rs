//! What comes as a whole: pictures and transcripts. The head's status says whether the answer is one; the body is then read to its
//! end, and given out.

use crate::bindings::pictures::exports::atelier::host::provider_images;
use crate::bindings::pictures::wit_stream;
use crate::bindings::speech::exports::atelier::host::provider_speech;
use crate::refusal::{of_pictures, of_speech};
use crate::wasm::{MAX_REFUSAL_BYTES, Provider, client, settings};
use crate::{Answer, Ask, Draws, Error, Listens, Protocol};

/// Most bytes of an answer with files: some large pictures as base64.
const MAX_ANSWER_BYTES: usize = 48 << 20;

impl<P: Draws + 'static> provider_images::Guest for Provider<P> {
    async fn generate(
        request: provider_images::Request,
    ) -> Result<wit_bindgen::StreamReader<provider_images::Part>, provider_images::Error> {
        Ok(generate::<P>(&request.into()).await.map_err(of_pictures)?)
    }
}

impl<P: Listens + 'static> provider_speech::Guest for Provider<P> {
    async fn transcribe(
        request: provider_speech::Request,
    ) -> Result<provider_speech::Transcript, provider_speech::Error> {
        let asked = async {
            let protocol = P::configure(&settings()?)?;
            let ask = protocol.ask_for_transcript(&request.into())?;
            protocol.transcript(&whole(&protocol, ask).await?)
        };
        Ok(asked.await.map_err(of_speech)?.into())
    }
}

async fn generate<P: Draws>(
    request: &crate::PictureRequest,
) -> Result<wit_bindgen::StreamReader<provider_images::Part>, Error> {
    let protocol = P::configure(&settings()?)?;
    let body = whole(&protocol, protocol.ask_for_pictures(request)?).await?;
    let drawn = protocol.pictures(&body)?;
    drop(body);
    let (mut parts, reader) = wit_stream::new::<provider_images::Part>();
    wit_bindgen::spawn_local(async move {
        for file in drawn.files {
            // what comes back was not taken: nobody reads any more
            if parts.write_one(provider_images::Part::Picture(file)).await.is_some() {
                return;
            }
        }
        let end = provider_images::End { notes: drawn.notes };
        drop(parts.write_one(provider_images::Part::End(end)).await);
    });
    Ok(reader)
}

/// The body of a whole answer that is none of the server's errors.
async fn whole<P: Protocol>(protocol: &P, ask: Ask) -> Result<Vec<u8>, Error> {
    let settings = settings()?;
    let mut answer = client::post(settings.base_url()?, ask).await?;
    if (200..300).contains(&answer.head.status) && answer.head.content_type == "application/json" {
        return answer.entire(MAX_ANSWER_BYTES).await;
    }
    let body = answer.whole(MAX_REFUSAL_BYTES).await;
    Err(protocol.refusal(&Answer { body, ..answer.head }))
}
