//! The side that faces the host: the only modules that name binding types. As little as possible is here, since all else
//! is tested natively.

mod client;
mod convert;
mod files;

use std::marker::PhantomData;

use crate::bindings::exports::atelier::host::provider_language::{Error, Guest, Part, Request};
use crate::bindings::wasi::config::store;
use crate::bindings::wit_stream;
use crate::{Following, Protocol, Settings};

/// Most bytes of an answer that is no stream; an error's text is far shorter.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// A protocol as a component.
pub struct Provider<P>(PhantomData<P>);

impl<P: Protocol + 'static> Guest for Provider<P> {
    async fn chat(request: Request) -> Result<wit_bindgen::StreamReader<Part>, Error> {
        Ok(chat::<P>(request.into()).await?)
    }
}

/// Asks, and leaves behind a task that reads on until the reply has ended or nobody wants it.
async fn chat<P: Protocol + 'static>(
    request: crate::Request,
) -> Result<wit_bindgen::StreamReader<Part>, crate::Error> {
    let settings = settings()?;
    let protocol = P::configure(&settings)?;
    let ask = protocol.ask(&request)?;
    let mut answer = client::post(settings.base_url()?, ask).await?;
    let is_stream = P::FRAMING.media_types().contains(&answer.head.content_type.as_str());
    if !(200..300).contains(&answer.head.status) || !is_stream {
        let body = answer.whole(MAX_REFUSAL_BYTES).await;
        return Err(protocol.refusal(&crate::Answer { body, ..answer.head }));
    }
    let (mut parts, reader) = wit_stream::new::<Part>();
    let mut following = Following::new(P::FRAMING, protocol.events(&request));
    wit_bindgen::spawn_local(async move {
        while !following.has_ended() {
            let said = match answer.next().await {
                Some(Ok(bytes)) => following.take(&bytes),
                Some(Err(error)) => vec![crate::Part::Failed(error)],
                None => following.close(),
            };
            let is_broken = matches!(said.last(), Some(crate::Part::Failed(_)));
            let said: Vec<Part> = said.into_iter().map(Into::into).collect();
            // what comes back was not taken: nobody reads any more
            if !parts.write_all(said).await.is_empty() || is_broken {
                return;
            }
        }
    });
    Ok(reader)
}

fn settings() -> Result<Settings, crate::Error> {
    let all = store::get_all();
    let all = all.map_err(|_| crate::Error::Other("the host gives no configuration".into()))?;
    Ok(Settings::new(all))
}
