//! Content negotiation: which of the offered types a client prefers (RFC 9110, section 12.5.1).
//!
//! Headers come from anyone. What cannot be read is passed over: a strange header costs its client a preference, not
//! an answer.

/// The index of the offer that the `Accept` header likes best; the earlier offer among equals, the first without a
/// header, none when every offer is refused.
pub fn preferred(accept: Option<&str>, offers: &[&str]) -> Option<usize> {
    let Some(accept) = accept.filter(|text| !text.trim().is_empty()) else { return Some(0) };
    let mut best = None;
    for (index, offer) in offers.iter().enumerate() {
        let quality = quality(accept, offer);
        // more than the best so far, and more than 0: a quality of 0 is a refusal
        if quality > best.map_or(0, |(_, known)| known) {
            best = Some((index, quality));
        }
    }
    best.map(|(index, _)| index)
}

/// Whether a content coding such as `gzip` may be used.
pub fn takes_coding(accept_encoding: Option<&str>, coding: &str) -> bool {
    let Some(text) = accept_encoding else { return false };
    let find = |name: &str| ranges(text).find(|(range, _)| range.eq_ignore_ascii_case(name));
    find(coding).or_else(|| find("*")).is_some_and(|(_, quality)| quality > 0)
}

/// The quality, 0 to 1000, of the most specific range that covers the offer.
fn quality(accept: &str, offer: &str) -> u32 {
    ranges(accept)
        .filter_map(|(range, quality)| Some((specificity(range, offer)?, quality)))
        .max_by_key(|(specificity, _)| *specificity)
        .map_or(0, |(_, quality)| quality)
}

/// How exactly a range names an offer, 2 for itself and 0 for anything; none where it does not cover it.
fn specificity(range: &str, offer: &str) -> Option<u8> {
    let kind = offer.split('/').next()?;
    match range.split_once('/')? {
        _ if range.eq_ignore_ascii_case(offer) => Some(2),
        (major, "*") if major.eq_ignore_ascii_case(kind) => Some(1),
        ("*", "*") => Some(0),
        _ => None,
    }
}

/// Ranges and their qualities in thousandths. A quality that cannot be read counts as 1, as most servers have it.
fn ranges(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.split(',').map(|part| {
        let mut pieces = part.split(';').map(str::trim);
        let range = pieces.next().unwrap_or_default();
        let quality = pieces.find_map(|piece| {
            let (name, value) = piece.split_once('=')?;
            value.parse::<f32>().ok().filter(|_| name.eq_ignore_ascii_case("q"))
        });
        (range, quality.map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u32))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [&str; 3] = ["application/json", "image/png", "text/event-stream"];

    #[test]
    fn the_best_liked_offer_wins_and_the_first_one_among_equals() {
        assert_eq!(preferred(None, &OFFERS), Some(0));
        assert_eq!(preferred(Some("*/*"), &OFFERS), Some(0));
        assert_eq!(preferred(Some("image/png"), &OFFERS), Some(1));
        assert_eq!(preferred(Some("image/*, application/json;q=0.5"), &OFFERS), Some(1));
        assert_eq!(preferred(Some("image/webp, */*;q=0.1"), &OFFERS), Some(0));
        assert_eq!(preferred(Some("text/event-stream"), &OFFERS), Some(2));
    }

    #[test]
    fn what_is_refused_is_never_chosen() {
        assert_eq!(preferred(Some("text/html"), &OFFERS), None);
        assert_eq!(preferred(Some("image/png;q=0"), &OFFERS), None);
        assert_eq!(preferred(Some("image/png;Q=0"), &OFFERS), None);
        assert_eq!(preferred(Some("image/png;q=0, image/*;q=0.5"), &OFFERS), None);
    }

    #[test]
    fn codings_are_taken_only_when_named() {
        assert!(takes_coding(Some("br, gzip"), "gzip"));
        assert!(takes_coding(Some("*"), "gzip"));
        assert!(!takes_coding(Some("gzip;q=0, *"), "gzip"));
        assert!(!takes_coding(None, "gzip"));
    }
}
