//! The two steps between a component and what runs: its bytes become machine code, and machine code is loaded. The first
//! may happen in any process of this binary; the second is the only place where bytes become something that runs.

use wasmtime::Engine;
use wasmtime::component::Component;

/// Machine code of a component, in the form that [`load`] takes; the error is the compiler's words.
pub(super) fn compile(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, String> {
    engine.precompile_component(bytes).map_err(|error| format!("{error:#}"))
}

/// Callers answer for where the code is from: [`compile`] in this process, a child that this process started, or a file
/// that carries our own seal.
#[expect(unsafe_code, reason = "machine code is loaded from nobody but ourselves")]
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: by the callers' promise this is what `Engine::precompile_component` gave. The engine refuses code of
    // another version or configuration.
    unsafe { Component::deserialize(engine, code) }
}
