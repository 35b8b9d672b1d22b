//! What keepers do: a line is a word and what it needs, its answer is a line. Shared by both generations of handlers, since
//! these interfaces are the same for both.

use crate::wasi::blobstore::blobstore::{
    container_exists, copy_object, create_container, delete_container, get_container, move_object,
};
use crate::wasi::blobstore::container::Container;
use crate::wasi::blobstore::types::{IncomingValue, ObjectId, OutgoingValue};
use crate::wasi::io::streams::StreamError;
use crate::wasi::keyvalue::atomics::{self, Cas, CasError};
use crate::wasi::keyvalue::batch;
use crate::wasi::keyvalue::store::{self, Bucket, Error};
use crate::wasi::logging::logging::{Level, log};

/// The answers to all lines.
pub(crate) fn act(lines: &str) -> String {
    lines.lines().map(|line| line_of(line).unwrap_or_else(|error| format!("error: {error}")) + "\n").collect()
}

fn line_of(line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["log", level, context, message] => {
            log(level_of(level), context, message);
            Ok("logged".into())
        }
        [verb, place, ref rest @ ..] if verb.starts_with("b:") => {
            let bucket = store::open(place).map_err(told)?;
            value(&bucket, &verb[2..], rest).map_err(told)
        }
        [verb, place, ref rest @ ..] => object(verb, place, rest),
        _ => Err(format!("what is `{line}`?")),
    }
}

fn told(error: Error) -> String {
    match error {
        Error::Other(text) => text,
        other => format!("{other:?}"),
    }
}

fn level_of(word: &str) -> Level {
    match word {
        "debug" => Level::Debug,
        "warn" => Level::Warn,
        "critical" => Level::Critical,
        _ => Level::Info,
    }
}

fn text(bytes: Option<Vec<u8>>) -> String {
    match bytes {
        Some(bytes) if bytes.len() > 100 => format!("{} bytes", bytes.len()),
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => "none".into(),
    }
}

fn value(bucket: &Bucket, verb: &str, words: &[&str]) -> Result<String, Error> {
    Ok(match (verb, words) {
        ("open", []) => "open".into(),
        ("get", [key]) => text(bucket.get(key)?),
        ("set", [key, value]) => bucket.set(key, value.as_bytes()).map(|()| "set".into())?,
        ("fill", [key, bytes]) => bucket.set(key, &vec![b'x'; number(bytes)]).map(|()| "set".into())?,
        ("delete", [key]) => bucket.delete(key).map(|()| "deleted".into())?,
        ("exists", [key]) => bucket.exists(key)?.to_string(),
        ("list", []) => bucket.list_keys(None).map(|page| format!("{:?} {:?}", page.keys, page.cursor))?,
        ("pages", []) => pages(bucket)?,
        ("add", [key, delta]) => atomics::increment(bucket, key, delta.parse().unwrap())?.to_string(),
        ("swap", [key, value]) => swap(bucket, key, value, None)?,
        // somebody else sets the key between the look and the swap
        ("late-swap", [key, value, others]) => swap(bucket, key, value, Some(others))?,
        ("get-many", keys) => {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            let found = batch::get_many(bucket, &keys)?;
            format!("{:?}", found.into_iter().map(|found| found.map(|(key, _)| key)).collect::<Vec<_>>())
        }
        ("set-many", pairs) => {
            let pairs: Vec<_> =
                pairs.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].as_bytes().to_vec())).collect();
            batch::set_many(bucket, &pairs).map(|()| "set".into())?
        }
        ("number", [from, to]) => {
            let pairs: Vec<_> =
                (number(from)..number(to)).map(|index| (format!("{index:05}"), vec![1])).collect();
            batch::set_many(bucket, &pairs).map(|()| "set".into())?
        }
        ("delete-many", keys) => {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            batch::delete_many(bucket, &keys).map(|()| "deleted".into())?
        }
        (other, _) => format!("what is `{other}`?"),
    })
}

fn number(word: &str) -> usize {
    word.parse().unwrap()
}

fn pages(bucket: &Bucket) -> Result<String, Error> {
    let (mut counts, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor.as_deref())?;
        counts.push(page.keys.len().to_string());
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(counts.join(" "));
        }
    }
}

fn swap(bucket: &Bucket, key: &str, value: &str, others: Option<&str>) -> Result<String, Error> {
    let cas = Cas::new(bucket, key)?;
    let before = text(cas.current()?);
    if let Some(others) = others {
        bucket.set(key, others.as_bytes())?;
    }
    match atomics::swap(cas, value.as_bytes()) {
        Ok(()) => Ok(format!("swapped {before}")),
        Err(CasError::StoreError(error)) => Err(error),
        Err(CasError::CasFailed(newer)) => {
            let now = text(newer.current()?);
            let again = atomics::swap(newer, value.as_bytes()).is_ok();
            Ok(format!("not {before} but {now}, then {again}"))
        }
    }
}

fn object(verb: &str, place: &str, words: &[&str]) -> Result<String, String> {
    match (verb, words) {
        ("create", []) => create_container(place).map(|_| "created".into()),
        ("remove", []) => delete_container(place).map(|()| "removed".into()),
        ("is", []) => container_exists(place).map(|is| is.to_string()),
        ("leave", []) => {
            let value = OutgoingValue::new_outgoing_value();
            write(&value, &[b'x'; 10])?;
            Ok("left".into())
        }
        ("early", []) => {
            let value = OutgoingValue::new_outgoing_value();
            let _stream = value.outgoing_value_write_body().unwrap();
            OutgoingValue::finish(value).map(|()| "finished".into())
        }
        ("nowhere", []) => {
            OutgoingValue::finish(OutgoingValue::new_outgoing_value()).map(|()| "finished".into())
        }
        (verb, words) => inside(&get_container(place)?, verb, words),
    }
}

fn inside(container: &Container, verb: &str, words: &[&str]) -> Result<String, String> {
    match (verb, words) {
        ("name", []) => container.name(),
        ("info", []) => {
            container.info().map(|info| format!("{} {}", info.name, info.created_at > 1_600_000_000))
        }
        ("put", [name, content]) => put(container, name, content.as_bytes()),
        ("fill", [name, bytes]) => put(container, name, &vec![b'x'; number(bytes)]),
        ("read", [name, start, end]) => {
            read(container.get_data(name, number(start) as u64, number(end) as u64)?)
        }
        ("whole", [name]) => {
            let value = container.get_data(name, 0, u64::MAX)?;
            IncomingValue::incoming_value_consume_sync(value).map(|bytes| text(Some(bytes)))
        }
        // while it is read, it is deleted
        ("last", [name]) => {
            let value = container.get_data(name, 0, u64::MAX)?;
            container.delete_object(name)?;
            read(value)
        }
        ("hoard", [name]) => {
            let mut held = Vec::new();
            loop {
                match container.get_data(name, 0, 1) {
                    Ok(value) => held.push(value),
                    Err(why) => return Ok(format!("{} and then: {why}", held.len())),
                }
            }
        }
        ("has", [name]) => container.has_object(name).map(|has| has.to_string()),
        ("size", [name]) => container.object_info(name).map(|info| {
            format!("{}/{} {} {}", info.container, info.name, info.size, info.created_at > 1_600_000_000)
        }),
        ("list", []) => {
            let names = container.list_objects()?;
            let skipped = names.skip_stream_object_names(0)?;
            let read = names.read_stream_object_names(u64::MAX)?;
            Ok(format!("{skipped:?} {read:?} {:?}", names.read_stream_object_names(5)?))
        }
        ("one-by-one", []) => {
            let names = container.list_objects()?;
            let first = names.read_stream_object_names(1)?;
            Ok(format!("{first:?} {:?}", names.skip_stream_object_names(100)?))
        }
        ("delete", names) => {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            container.delete_objects(&names).map(|()| "deleted".into())
        }
        ("clear", []) => container.clear().map(|()| "cleared".into()),
        ("copy", [name, target, new]) => {
            copy_object(&id(&container.name()?, name), &id(target, new)).map(|()| "copied".into())
        }
        ("move", [name, target, new]) => {
            move_object(&id(&container.name()?, name), &id(target, new)).map(|()| "moved".into())
        }
        (other, _) => Err(format!("what is `{other}`?")),
    }
}

fn id(container: &str, object: &str) -> ObjectId {
    ObjectId { container: container.into(), object: object.into() }
}

fn put(container: &Container, name: &str, bytes: &[u8]) -> Result<String, String> {
    let value = OutgoingValue::new_outgoing_value();
    container.write_data(name, &value)?;
    let written = write(&value, bytes);
    let finished = OutgoingValue::finish(value);
    written?;
    finished.map(|()| "put".into())
}

/// The last piece is not flushed: the value has it all the same.
fn write(value: &OutgoingValue, bytes: &[u8]) -> Result<(), String> {
    let stream = value.outgoing_value_write_body().map_err(|()| "the stream is taken".to_owned())?;
    if value.outgoing_value_write_body().is_ok() {
        return Err("there is a second stream".into());
    }
    let mut pieces = bytes.chunks(4_096).peekable();
    while let Some(piece) = pieces.next() {
        let written = match pieces.peek() {
            Some(_) => stream.blocking_write_and_flush(piece),
            None => {
                stream.subscribe().block();
                stream.check_write().and_then(|_| stream.write(piece))
            }
        };
        written.map_err(|error| match error {
            StreamError::LastOperationFailed(error) => error.to_debug_string(),
            StreamError::Closed => "closed".into(),
        })?;
    }
    Ok(())
}

fn read(value: IncomingValue) -> Result<String, String> {
    let size = value.size();
    let stream = IncomingValue::incoming_value_consume_async(value)?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(10_000) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(format!("{error:?}")),
        }
    }
    assert_eq!(bytes.len() as u64, size);
    Ok(text(Some(bytes)))
}
