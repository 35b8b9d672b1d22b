//! What exists for guests to import, in three linkers: for handlers, for plugins, and for providers. What a route does not grant is
//! refused by name before linking (`deploy.rs`), so the linkers are the same for every route.
//!
//! WASI is there in both generations at once: components for 0.3 still import parts of 0.2 from their standard library.
//! The file system is linked without a single folder in it, the environment is empty: guests load and see nothing.

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::bindings::{
    audio, channels, copies, finish, generation, images, intent, jobs, language, machine, models, select,
    speech, style,
};
use crate::bindings::{blobstore, keyvalue, logging};
use crate::capabilities::Capabilities;
use crate::sandbox::Sandbox;

/// For request handlers: WASI, HTTP and every capability.
pub(crate) fn for_handlers(engine: &Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = wasi(engine)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, Sandbox::config)?;
    images::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    generation::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    models::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    audio::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    speech::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    language::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    intent::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    style::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    select::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    finish::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    machine::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    jobs::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    copies::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    channels::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    storage(&mut linker)?;
    Ok(linker)
}

/// Buckets, containers and the log.
fn storage(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    keyvalue::store::add_to_linker::<_, Capabilities>(linker, itself)?;
    keyvalue::atomics::add_to_linker::<_, Capabilities>(linker, itself)?;
    keyvalue::batch::add_to_linker::<_, Capabilities>(linker, itself)?;
    blobstore::types::add_to_linker::<_, Capabilities>(linker, itself)?;
    blobstore::container::add_to_linker::<_, Capabilities>(linker, itself)?;
    blobstore::blobstore::add_to_linker::<_, Capabilities>(linker, itself)?;
    logging::logging::add_to_linker::<_, Capabilities>(linker, itself)
}

/// For plugins: WASI without HTTP, pictures, and language models.
pub(crate) fn for_plugins(engine: &Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = wasi(engine)?;
    images::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    language::add_to_linker::<_, Capabilities>(&mut linker, itself)?;
    Ok(linker)
}

/// For providers: WASI with HTTP of both generations, and their configuration.
pub(crate) fn for_providers(engine: &Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = wasi(engine)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, Sandbox::config)?;
    Ok(linker)
}

fn wasi(engine: &Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    Ok(linker)
}

fn itself(sandbox: &mut Sandbox) -> &mut Sandbox {
    sandbox
}
