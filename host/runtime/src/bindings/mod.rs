//! The generated Rust types and traits of `wit/`, and nothing else. One module per world; every world shares the types of
//! `capabilities`, so that an image is one Rust type wherever it travels.
//!
//! Everything is `pub`, since the generated modules re-export each other; the module itself is private.
#![expect(unreachable_pub, reason = "the generated modules re-export each other")]

mod capabilities {
    wasmtime::component::bindgen!({
        path: "../../wit",
        interfaces: "
            import atelier:host/types@0.1.0;
            import atelier:host/images@0.1.0;
            import atelier:host/generation@0.1.0;
            import atelier:host/models@0.1.0;
            import atelier:host/audio@0.1.0;
            import atelier:host/speech@0.1.0;
            import atelier:host/language@0.1.0;
            import atelier:host/intent@0.1.0;
            import atelier:host/style@0.1.0;
            import atelier:host/select@0.1.0;
            import atelier:host/finish@0.1.0;
            import atelier:host/machine@0.1.0;
            import atelier:host/jobs@0.1.0;
            import atelier:host/copies@0.1.0;
            import atelier:host/channels@0.1.0;
        ",
        imports: {
            "atelier:host/images.[static]image.from-pixels": trappable,
            "atelier:host/images.[method]image.size": trappable,
            "atelier:host/images.[method]image.pixels": trappable,
            "atelier:host/images.[method]image.share": trappable,
            "atelier:host/images.[method]image.parameters": trappable,
            "atelier:host/images.[drop]image": trappable,
            "atelier:host/generation.[method]job.id": trappable,
            "atelier:host/generation.[method]job.cancel": trappable,
            "atelier:host/generation.[method]job.events": store | trappable,
            "atelier:host/generation.[drop]job": trappable,
            "atelier:host/audio.[static]recording.from-samples": trappable,
            "atelier:host/audio.[method]recording.seconds": trappable,
            "atelier:host/audio.[method]recording.samples": trappable,
            "atelier:host/audio.[method]recording.source": trappable,
            "atelier:host/audio.[drop]recording": trappable,
            "atelier:host/speech.[method]transcription.id": trappable,
            "atelier:host/speech.[method]transcription.cancel": trappable,
            "atelier:host/speech.[method]transcription.events": store | trappable,
            "atelier:host/speech.[drop]transcription": trappable,
            "atelier:host/language.[method]completion.id": trappable,
            "atelier:host/language.[method]completion.cancel": trappable,
            "atelier:host/language.[method]completion.events": store | trappable,
            "atelier:host/language.[drop]completion": trappable,
            default: async | store | trappable,
        },
        with: {
            "atelier:host/images.image": crate::capabilities::Image,
            "atelier:host/generation.job": crate::capabilities::RunningJob,
            "atelier:host/audio.recording": crate::capabilities::Sound,
            "atelier:host/speech.transcription": crate::capabilities::RunningTranscription,
            "atelier:host/language.completion": crate::capabilities::RunningCompletion,
        },
        require_store_data_send: true,
    });
}

pub use capabilities::atelier::host::*;

mod storage {
    wasmtime::component::bindgen!({
        path: "../../wit",
        interfaces: "
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
            import wasi:keyvalue/batch@0.2.0-draft2;
            import wasi:blobstore/types@0.2.0-draft;
            import wasi:blobstore/container@0.2.0-draft;
            import wasi:blobstore/blobstore@0.2.0-draft;
            import wasi:logging/logging@0.1.0-draft;
        ",
        imports: {
            "wasi:keyvalue/store.[drop]bucket": trappable,
            "wasi:keyvalue/atomics.[drop]cas": trappable,
            "wasi:blobstore/types.[static]outgoing-value.new-outgoing-value": async | trappable,
            "wasi:blobstore/types.[method]outgoing-value.outgoing-value-write-body": trappable,
            "wasi:blobstore/types.[static]incoming-value.incoming-value-consume-async": trappable,
            "wasi:blobstore/types.[method]incoming-value.size": trappable,
            "wasi:blobstore/types.[drop]outgoing-value": trappable,
            "wasi:blobstore/types.[drop]incoming-value": trappable,
            "wasi:blobstore/container.[method]container.name": trappable,
            "wasi:blobstore/container.[method]container.write-data": trappable,
            "wasi:blobstore/container.[drop]container": trappable,
            "wasi:blobstore/container.[drop]stream-object-names": trappable,
            "wasi:logging/logging.log": trappable,
            default: async | trappable,
        },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:keyvalue/store.bucket": crate::capabilities::Bucket,
            "wasi:keyvalue/atomics.cas": crate::capabilities::Swap,
            "wasi:blobstore/types.outgoing-value": crate::capabilities::OutgoingValue,
            "wasi:blobstore/types.incoming-value": crate::capabilities::IncomingValue,
            "wasi:blobstore/container.container": crate::capabilities::Container,
            "wasi:blobstore/container.stream-object-names": crate::capabilities::Names,
        },
        require_store_data_send: true,
    });
}

pub use storage::wasi::{blobstore, keyvalue, logging};

pub mod interpreter {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "atelier:host/interpreter",
        exports: { default: async | store },
        require_store_data_send: true,
    });
}

pub mod styler {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "atelier:host/styler",
        exports: { default: async | store },
        require_store_data_send: true,
    });
}

pub mod selector {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "atelier:host/selector",
        exports: { default: async | store },
        with: { "atelier:host/types": crate::bindings::types },
        require_store_data_send: true,
    });
}

pub mod finisher {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "atelier:host/finisher",
        exports: { default: async | store },
        with: {
            "atelier:host/types": crate::bindings::types,
            "atelier:host/images": crate::bindings::images,
        },
        require_store_data_send: true,
    });
}

pub mod worker {
    // not the whole world: what a handler imports and exports beside this is linked and called as such
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package atelier:runtime; world worker { export atelier:host/job-runner@0.1.0; }",
        exports: { default: async | store },
        require_store_data_send: true,
    });
}

pub mod viewer {
    // as above
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package atelier:runtime; world viewer { export atelier:host/job-view@0.1.0; }",
        exports: { default: async | store },
        with: { "atelier:host/jobs": crate::bindings::jobs },
        require_store_data_send: true,
    });
}

pub mod receiver {
    // not the whole world, as above
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package atelier:runtime; world receiver { export atelier:host/channel-receiver@0.1.0; }",
        exports: { default: async | store },
        require_store_data_send: true,
    });
}

pub mod provider {
    // not the whole world: what it imports beside its own types is WASI's, and linked as such
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package atelier:runtime; world provider { export atelier:host/provider-language@0.1.0; }",
        exports: { default: async | store },
        require_store_data_send: true,
    });
}

pub mod picture_provider {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package atelier:runtime; world picture-provider { export atelier:host/provider-images@0.1.0; }",
        exports: { default: async | store },
        with: {
            "atelier:host/provider-types": crate::bindings::provider::atelier::host::provider_types,
        },
        require_store_data_send: true,
    });
}

pub mod speech_provider {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package atelier:runtime; world speech-provider { export atelier:host/provider-speech@0.1.0; }",
        exports: { default: async | store },
        with: {
            "atelier:host/provider-types": crate::bindings::provider::atelier::host::provider_types,
        },
        require_store_data_send: true,
    });
}

pub mod decoder {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "atelier:host/decoder",
        exports: { default: async | store },
        with: { "atelier:host/types": crate::bindings::types },
        require_store_data_send: true,
    });
}
