//! `images`: pictures behind handles. Pixels stay here until a guest asks for them; every picture is charged to the
//! guest that made it, for as long as anybody holds it.

use std::sync::Arc;

use atelier_inference::picture::{self, MAX_SIDE};
use atelier_inference::{Picture, Pixels as HostPixels, Size as HostSize};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::{Access, Capabilities, caller, paint};
use crate::Tenant;
use crate::bindings::decoder::exports::atelier::host::media;
use crate::bindings::images::{Encoding, Error, Filter, Format, Host, HostImage, HostImageWithStore, Pixels};
use crate::bindings::types::Size;
use crate::context::Scope;
use crate::decoder::{self, Stopped};
use crate::runtime::Host as HostState;
use crate::sandbox::{Held, Meter, Sandbox};

/// Most pixels of one picture.
const MAX_PIXELS: u64 = MAX_SIDE as u64 * MAX_SIDE as u64;

/// What is behind a guest's handle. Cloning it copies no pixels.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Image {
    picture: Picture,
    _held: Arc<Held>,
}

impl Image {
    /// Charges a picture to whoever is to hold it. The error names the limit.
    pub(crate) fn charged(picture: Picture, meter: &Meter) -> std::result::Result<Self, String> {
        let held = meter.hold_picture(picture.pixels.rgba().len() as u64).map_err(|limit| {
            format!(
                "this guest holds too many pictures: at most {limit} bytes of pixels (limits.picture-bytes)"
            )
        })?;
        Ok(Self { picture, _held: Arc::new(held) })
    }

    pub(crate) fn picture(&self) -> &Picture {
        &self.picture
    }
}

impl Host for Sandbox {}

impl HostImage for Sandbox {
    fn from_pixels(&mut self, pixels: Pixels) -> Result<std::result::Result<Resource<Image>, Error>> {
        let made = HostPixels::new(pixels.size.width, pixels.size.height, pixels.rgba);
        let picture = match made {
            Ok(pixels) => Picture { pixels, parameters: None },
            Err(error) => return Ok(Err(Error::Invalid(error.to_string()))),
        };
        let meter = self.meter().clone();
        self.keep_image(picture, &meter)
    }

    fn size(&mut self, image: Resource<Image>) -> Result<Size> {
        Ok(self.table.get(&image)?.picture.pixels.size().into())
    }

    fn pixels(&mut self, image: Resource<Image>) -> Result<Pixels> {
        let pixels = &self.table.get(&image)?.picture.pixels;
        Ok(Pixels { size: pixels.size().into(), rgba: pixels.rgba().to_vec() })
    }

    fn share(&mut self, image: Resource<Image>) -> Result<Resource<Image>> {
        let shared = self.table.get(&image)?.clone();
        Ok(self.table.push(shared)?)
    }

    fn parameters(&mut self, image: Resource<Image>) -> Result<Option<String>> {
        Ok(self.table.get(&image)?.picture.parameters.as_ref().map(|parameters| parameters.json()))
    }

    fn drop(&mut self, image: Resource<Image>) -> Result<()> {
        self.table.delete(image)?;
        Ok(())
    }
}

impl HostImageWithStore<Sandbox> for Capabilities {
    async fn decode(access: &Access, bytes: Vec<u8>) -> Result<std::result::Result<Resource<Image>, Error>> {
        let caller = caller(access).await;
        let (wait, span) = (caller.meter.wait(), caller.meter.scope().open("images.decode"));
        let (scope, tenant) = (span.scope(), caller.meter.tenant());
        let pixels = caller.meter.while_wanted(decode_pixels(&caller.host, tenant, &scope, bytes)).await;
        drop((wait, span));
        match pixels {
            Ok(pixels) => {
                let picture = Picture { pixels, parameters: None };
                access.with(|mut store| store.get().keep_image(picture, &caller.meter))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn resize(
        access: &Access,
        image: Resource<Image>,
        size: Size,
        filter: Filter,
    ) -> Result<std::result::Result<Resource<Image>, Error>> {
        let source = get(access, &image)?;
        if let Err(error) = check_size(size) {
            return Ok(Err(error));
        }
        scale(access, source, size.into(), filter).await
    }

    async fn thumbnail(
        access: &Access,
        image: Resource<Image>,
        max_side: u32,
    ) -> Result<std::result::Result<Resource<Image>, Error>> {
        if max_side == 0 {
            return Ok(Err(Error::Invalid("max-side: must be 1 or more".into())));
        }
        let source = get(access, &image)?;
        let size = fit(source.picture.pixels.size(), max_side);
        scale(access, source, size, Filter::Lanczos3).await
    }

    async fn encode(
        access: &Access,
        image: Resource<Image>,
        encoding: Encoding,
    ) -> Result<std::result::Result<Vec<u8>, Error>> {
        let (source, caller) = (get(access, &image)?, caller(access).await);
        let encoding = picture::Encoding {
            format: encoding.format.into(),
            quality: encoding.quality,
            parameters: encoding.parameters,
        };
        let write = move || picture::encode(&source.picture, encoding);
        let encoded = paint(&caller.host, &caller.meter, "images.encode", write).await?;
        Ok(encoded.map_err(|error| match error {
            atelier_inference::Error::Invalid { .. } => Error::Invalid(error.to_string()),
            error => Error::Other(error.to_string()),
        }))
    }
}

impl Sandbox {
    /// Puts a picture behind a handle of this guest.
    fn keep_image(
        &mut self,
        picture: Picture,
        meter: &Meter,
    ) -> Result<std::result::Result<Resource<Image>, Error>> {
        match Image::charged(picture, meter) {
            Ok(image) => Ok(Ok(self.table.push(image)?)),
            Err(why) => Ok(Err(Error::TooLarge(why))),
        }
    }
}

fn get(access: &Access, image: &Resource<Image>) -> Result<Image> {
    access.with(|mut store| Ok(store.get().table.get(image)?.clone()))
}

async fn scale(
    access: &Access,
    source: Image,
    size: HostSize,
    filter: Filter,
) -> Result<std::result::Result<Resource<Image>, Error>> {
    let caller = caller(access).await;
    let parameters = source.picture.parameters.clone();
    let resize = move || picture::resized(&source.picture.pixels, size, filter.into());
    let scaled = paint(&caller.host, &caller.meter, "images.resize", resize).await?;
    match scaled {
        Ok(pixels) => {
            let picture = Picture { pixels, parameters };
            access.with(|mut store| store.get().keep_image(picture, &caller.meter))
        }
        Err(why) => Ok(Err(Error::Other(why.to_string()))),
    }
}

fn check_size(size: Size) -> std::result::Result<(), Error> {
    if size.width == 0 || size.height == 0 {
        return Err(Error::Invalid(format!("size: {}x{} has no pixels", size.width, size.height)));
    }
    let pixels = u64::from(size.width) * u64::from(size.height);
    if size.width > MAX_SIDE || size.height > MAX_SIDE || pixels > MAX_PIXELS {
        let (width, height) = (size.width, size.height);
        return Err(Error::TooLarge(format!("{width}x{height}: sides are at most {MAX_SIDE} pixels")));
    }
    Ok(())
}

/// The size with the longer side at most `max_side`, in the same proportion; never larger.
fn fit(size: HostSize, max_side: u32) -> HostSize {
    let longest = size.width.max(size.height);
    if longest <= max_side {
        return size;
    }
    let scaled = |side: u32| {
        let exact = (u64::from(side) * u64::from(max_side) + u64::from(longest) / 2) / u64::from(longest);
        (exact as u32).max(1)
    };
    HostSize { width: scaled(size.width), height: scaled(size.height) }
}

/// Decodes untrusted bytes in the sandbox. A decoder that traps, hangs or runs out of memory is an error value.
pub(crate) async fn decode_pixels(
    host: &Arc<HostState>,
    tenant: &Arc<Tenant>,
    scope: &Scope,
    bytes: Vec<u8>,
) -> std::result::Result<HostPixels, Error> {
    match host.decoder.decode_image(host, tenant, scope, bytes).await {
        Ok(Ok(decoded)) => HostPixels::new(decoded.size.width, decoded.size.height, decoded.rgba)
            .map_err(|error| Error::Other(format!("the decoder returned no picture: {error}"))),
        Ok(Err(error)) => Err(error.into()),
        Err(failure) => Err(match decoder::stopped(&failure, scope) {
            Stopped::AtLimit(text) => Error::TooLarge(text),
            Stopped::Broken(text) => Error::Malformed(text),
        }),
    }
}

impl Error {
    /// What happened, safe to show.
    pub(crate) fn into_text(self) -> String {
        match self {
            Error::Unsupported(text)
            | Error::Malformed(text)
            | Error::TooLarge(text)
            | Error::Invalid(text)
            | Error::Other(text) => text,
        }
    }
}

impl From<media::Error> for Error {
    fn from(error: media::Error) -> Self {
        match error {
            media::Error::Unsupported(text) => Error::Unsupported(text),
            media::Error::Malformed(text) => Error::Malformed(text),
            media::Error::TooLarge(text) => Error::TooLarge(text),
        }
    }
}

impl From<Format> for picture::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => picture::Format::Png,
            Format::Jpeg => picture::Format::Jpeg,
            Format::Webp => picture::Format::Webp,
        }
    }
}

impl From<Filter> for picture::Filter {
    fn from(filter: Filter) -> Self {
        match filter {
            Filter::Nearest => picture::Filter::Nearest,
            Filter::Bilinear => picture::Filter::Bilinear,
            Filter::Lanczos3 => picture::Filter::Lanczos3,
        }
    }
}

impl From<HostSize> for Size {
    fn from(size: HostSize) -> Self {
        Size { width: size.width, height: size.height }
    }
}

impl From<Size> for HostSize {
    fn from(size: Size) -> Self {
        HostSize { width: size.width, height: size.height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> HostSize {
        HostSize { width, height }
    }

    #[test]
    fn a_thumbnail_keeps_the_proportion_and_never_enlarges() {
        assert_eq!(fit(size(1_000, 500), 100), size(100, 50));
        assert_eq!(fit(size(50, 20), 100), size(50, 20));
        assert_eq!(fit(size(4_096, 1), 64), size(64, 1));
    }

    #[test]
    fn a_size_just_past_the_limit_is_too_large_and_an_empty_one_invalid() {
        let check = |width, height| check_size(Size { width, height });
        assert!(check(4_096, 4_096).is_ok());
        assert!(matches!(check(4_097, 1), Err(Error::TooLarge(_))));
        assert!(matches!(check(1, 0), Err(Error::Invalid(_))));
    }
}
