//! The header `traceparent`, as <https://www.w3.org/TR/trace-context/> has it. Whatever is not well formed is no header.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Says to which trace a request belongs, and which span caused it.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems keep beside it; passed on unread.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest `tracestate` that is passed on, as the specification asks for at least.
const MAX_STATE_BYTES: usize = 512;
/// `00-` trace id `-` parent id `-` flags.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// A well-formed `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Not 0.
    pub trace: u128,
    /// The span that caused the request; not 0.
    pub span: u64,
    /// Whether whoever began the trace records it.
    pub sampled: bool,
}

impl TraceParent {
    /// Takes both headers out; what is not well formed is gone, and the state with it.
    pub fn take(headers: &mut HeaderMap) -> Option<(TraceParent, Option<HeaderValue>)> {
        let parents: Vec<HeaderValue> = headers.get_all(TRACEPARENT).iter().cloned().collect();
        headers.remove(TRACEPARENT);
        let state = state(headers);
        headers.remove(TRACESTATE);
        let [parent] = parents.as_slice() else { return None };
        Some((Self::parse(parent.to_str().ok()?)?, state))
    }

    fn parse(text: &str) -> Option<TraceParent> {
        let mut parts = text.splitn(4, '-');
        let (version, trace) = (hex(parts.next()?, 2)?, hex(parts.next()?, 32)?);
        let (span, rest) = (hex(parts.next()?, 16)?, parts.next()?);
        // later versions may have more behind the flags
        let (flags, more) = rest.split_at_checked(2)?;
        let flags = u8::try_from(hex(flags, 2)?).ok()?;
        let is_whole = match version {
            0 => text.len() == LENGTH,
            0xff => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        let span = u64::try_from(span).ok()?;
        (is_whole && trace != 0 && span != 0).then_some(TraceParent {
            trace,
            span,
            sampled: flags & SAMPLED != 0,
        })
    }

    /// The header's value.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.to_string()).ok()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes).collect();
    let state = HeaderValue::from_bytes(&lines.join(&b","[..])).ok()?;
    let fits = (1..=MAX_STATE_BYTES).contains(&state.len()) && state.to_str().is_ok();
    fits.then_some(state)
}

/// So many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (text.len() == digits && plain).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_header_is_read_and_written_the_same() {
        let parent = TraceParent::parse(GOOD).unwrap();
        assert_eq!((parent.trace >> 120, parent.span >> 56, parent.sampled), (0x0a, 0xb7, true));
        assert_eq!(parent.to_string(), GOOD);
        let later = GOOD.replacen("00", "cc", 1) + "-what-may-come";
        assert_eq!(TraceParent::parse(&later), Some(parent), "a later version begins the same");
    }

    #[test]
    fn what_is_not_well_formed_is_no_header() {
        let zeros = |from: usize, to: usize| {
            let mut text = GOOD.to_owned();
            text.replace_range(from..to, &"0".repeat(to - from));
            text
        };
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD}0"),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace("b7ad", "+7ad"),
            &GOOD.replace('-', "_"),
            &zeros(3, 35),
            &zeros(36, 52),
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn headers_are_taken_out_and_a_state_goes_with_its_parent() {
        let headers = |pairs: &[(HeaderName, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
            pairs.collect::<HeaderMap>()
        };
        let mut good = headers(&[(TRACEPARENT, GOOD), (TRACESTATE, "a=1")]);
        good.append(TRACESTATE, "b=2".parse().unwrap());
        let (_, state) = TraceParent::take(&mut good).unwrap();
        assert_eq!((state.unwrap().to_str().unwrap(), good.len()), ("a=1,b=2", 0));
        let mut twice = headers(&[(TRACEPARENT, GOOD), (TRACESTATE, "a=1")]);
        twice.append(TRACEPARENT, GOOD.parse().unwrap());
        assert!(TraceParent::take(&mut twice).is_none() && twice.is_empty());
        let long = "x".repeat(MAX_STATE_BYTES + 1);
        let (_, state) =
            TraceParent::take(&mut headers(&[(TRACEPARENT, GOOD), (TRACESTATE, &long)])).unwrap();
        assert_eq!(state, None);
    }
}
