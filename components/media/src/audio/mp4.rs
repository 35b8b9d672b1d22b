//! Reads from an mp4 file which part of a track is played, the edit list (ISO/IEC 14496-12, 8.6.6), whether the file is cut
//! off, and whether it points where no file reaches. Boxes are walked one after the other, into those that lead there and
//! over all others; a length ends with the box around it.

use super::cut::Cut;

/// The one edit that a recording has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Where the sound begins, in ticks of the track.
    start: u64,
    /// How long it is, in ticks of the movie; 0 if it goes to the end.
    length: u64,
    /// Ticks of the track in a second.
    track_scale: u64,
    /// Ticks of the movie in a second.
    movie_scale: u64,
}

impl Edit {
    pub(crate) fn cut(self, rate: u32) -> Cut {
        let frames = |ticks: u64, scale: u64| {
            let frames = u128::from(ticks) * u128::from(rate) / u128::from(scale.max(1));
            u64::try_from(frames).unwrap_or(u64::MAX)
        };
        // a movie whose ticks are longer than frames can only say about where the end is: what the packets say is
        // exact, and the edit must not take a part of them
        let is_exact = self.movie_scale >= u64::from(rate);
        let length = if is_exact { self.length } else { self.length.saturating_add(1) };
        let most = (self.length > 0).then(|| frames(length, self.movie_scale));
        Cut { skip: frames(self.start, self.track_scale), most, padding: 0 }
    }
}

/// The edit of a track, if its list begins with a part of the sound.
pub(crate) fn edit(bytes: &[u8], track: u32) -> Option<Edit> {
    let mut movie_scale = 0;
    let mut found = Vec::<Found>::new();
    for (name, body) in Boxes::of(bytes) {
        if &name == b"mvhd" {
            movie_scale = time_scale(body)?;
        } else if &name == b"trak" {
            found.push(Found::default());
        } else if let Some(current) = found.last_mut() {
            match &name {
                b"tkhd" => current.id = number(body, if is_long(body) { 20 } else { 12 }),
                b"mdhd" => current.scale = time_scale(body),
                b"elst" => current.edit = first_edit(body),
                _ => {}
            }
        }
    }
    let found = found.into_iter().find(|found| found.id == Some(u64::from(track)))?;
    let (start, length) = found.edit?;
    Some(Edit { start, length, track_scale: found.scale?, movie_scale })
}

/// Whether the file ends within a box.
pub(crate) fn is_cut(bytes: &[u8]) -> bool {
    let mut boxes = Boxes::of(bytes);
    boxes.by_ref().for_each(drop);
    boxes.is_cut || !boxes.rest.is_empty()
}

/// Offsets beyond this are in no file that is decoded; symphonia panics when it jumps so far where addresses have 32 bits.
const MAX_OFFSET: u64 = i32::MAX as u64;

/// Whether a table says that samples are before the file or far behind it (8.7.5, 8.8.7 and 8.8.8).
pub(crate) fn has_wild_offset(bytes: &[u8]) -> bool {
    // where a fragment begins, and so the offsets of its runs
    let (mut fragment, mut base) = (0, 0);
    for (name, body) in Boxes::of(bytes) {
        let is_wild = match &name {
            b"stco" => offsets(body, 4).any(|offset| offset > MAX_OFFSET),
            b"co64" => offsets(body, 8).any(|offset| offset > MAX_OFFSET),
            b"moof" => {
                fragment = (body.as_ptr() as usize - bytes.as_ptr() as usize) as u64;
                false
            }
            b"tfhd" => {
                let own = flag(body, 1).then(|| offsets(body, 8).next()).flatten();
                base = own.unwrap_or(fragment);
                base > MAX_OFFSET
            }
            // a whole header less: where exactly the fragment begins does not matter
            b"trun" if flag(body, 1) => {
                let offset = number(body, 8).unwrap_or(0) as u32 as i32;
                base.saturating_sub(16).checked_add_signed(offset.into()).is_none()
            }
            _ => false,
        };
        if is_wild {
            return true;
        }
    }
    false
}

/// The big numbers after the first eight bytes of a box.
fn offsets(body: &[u8], width: usize) -> impl Iterator<Item = u64> {
    let offsets = body.get(8..).unwrap_or_default().chunks_exact(width);
    offsets.map(|bytes| bytes.iter().fold(0, |offset, byte| offset << 8 | u64::from(*byte)))
}

/// One of the lowest eight flags of a box.
fn flag(body: &[u8], flag: u8) -> bool {
    body.get(3).is_some_and(|flags| flags & flag != 0)
}

/// What is known of a track.
#[derive(Default)]
struct Found {
    id: Option<u64>,
    scale: Option<u64>,
    edit: Option<(u64, u64)>,
}

/// Boxes within boxes that are looked into. The deepest on the way is the sixth.
const MAX_DEPTH: usize = 8;

/// Every box that may lead to an edit list or to offsets, one after the other: its name and the bytes after its header.
struct Boxes<'a> {
    /// What follows the last box; not empty at the end if no box can be read there.
    rest: &'a [u8],
    /// What follows the boxes that were entered, the outermost first.
    after: Vec<&'a [u8]>,
    /// Whether a box was longer than the file.
    is_cut: bool,
}

impl<'a> Boxes<'a> {
    fn of(rest: &'a [u8]) -> Self {
        Self { rest, after: Vec::new(), is_cut: false }
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.rest.len() < 8 {
            // what is too short for a box ends the one around it
            self.rest = self.after.pop()?;
        }
        let name: [u8; 4] = self.rest.get(4..8)?.try_into().ok()?;
        let (header, length) = match number(self.rest, 0)? {
            0 => (8, self.rest.len() as u64),
            1 => (16, number(self.rest, 8)? << 32 | number(self.rest, 12)?),
            length => (8, length),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX).max(header);
        self.is_cut |= self.after.is_empty() && length > self.rest.len();
        let (this, after) = self.rest.split_at(length.min(self.rest.len()));
        let body = this.get(header..)?;
        let is_entered =
            matches!(&name, b"moov" | b"trak" | b"edts" | b"mdia" | b"minf" | b"stbl" | b"moof" | b"traf");
        self.rest = after;
        if is_entered && self.after.len() < MAX_DEPTH {
            self.after.push(after);
            self.rest = body;
        }
        Some((name, body))
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u64::from(u32::from_be_bytes(bytes)))
}

/// Whether a box is of the version whose times have 64 bits.
fn is_long(body: &[u8]) -> bool {
    body.first() == Some(&1)
}

/// Ticks in a second, of `mvhd` and of `mdhd`.
fn time_scale(body: &[u8]) -> Option<u64> {
    number(body, if is_long(body) { 20 } else { 12 }).filter(|scale| *scale > 0)
}

/// Start and length of the first edit that is no pause. With others after it, the sound goes on to its end.
fn first_edit(body: &[u8]) -> Option<(u64, u64)> {
    let wide = if is_long(body) { 2 } else { 1 };
    let entry = wide * 8 + 4;
    let edits = body.get(8..)?.chunks_exact(entry).take(usize::try_from(number(body, 4)?).ok()?);
    let time = |entry: &[u8], at: usize| match wide {
        1 => number(entry, at * 4),
        _ => Some(number(entry, at * 8)? << 32 | number(entry, at * 8 + 4)?),
    };
    // a start of -1 is a pause
    let pause = if wide == 1 { u64::from(u32::MAX) } else { u64::MAX };
    let mut edits = edits.filter_map(|entry| Some((time(entry, 1)?, time(entry, 0)?)));
    let (start, length) = edits.find(|(start, _)| *start != pause)?;
    Some((start, if edits.next().is_some() { 0 } else { length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 8).expect("short").to_be_bytes();
        [&length[..], name, body].concat()
    }

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    fn movie(movie_scale: u32, edits: &[u8]) -> Vec<u8> {
        let trak = [
            boxed(b"tkhd", &numbers(&[0, 0, 0, 7])),
            boxed(b"edts", &boxed(b"elst", edits)),
            boxed(b"mdia", &boxed(b"mdhd", &numbers(&[0, 0, 0, 44_100, 99]))),
        ]
        .concat();
        let moov = [boxed(b"mvhd", &numbers(&[0, 0, 0, movie_scale, 9])), boxed(b"trak", &trak)].concat();
        [boxed(b"ftyp", b"isom"), boxed(b"mdat", &[1; 50]), boxed(b"moov", &moov)].concat()
    }

    #[test]
    fn a_whole_edit_is_found_after_the_data_and_a_pause() {
        let edits = numbers(&[0, 2, 5, u32::MAX, 0, 300, 2112, 0x1_0000]);
        let found = edit(&movie(600, &edits), 7).expect("an edit");
        assert_eq!(found, Edit { start: 2112, length: 300, track_scale: 44_100, movie_scale: 600 });
        let at_rate = Edit { movie_scale: 44_100, ..found }.cut(44_100);
        assert_eq!(at_rate, Cut { skip: 2112, most: Some(300), padding: 0 });
        // a tick of 1/600 s more, since it may have been rounded away
        assert_eq!(found.cut(44_100).most, Some(301 * 44_100 / 600));
        assert_eq!(edit(&movie(600, &edits), 8), None);
    }

    #[test]
    fn wide_numbers_and_lists_of_several_edits_are_read() {
        let wide = numbers(&[0x0100_0000, 1, 0, 0, 0, 1024, 0x1_0000]);
        assert_eq!(edit(&movie(1000, &wide), 7).map(|edit| (edit.start, edit.length)), Some((1024, 0)));
        let several = numbers(&[0, 2, 5, 64, 0x1_0000, 5, 900, 0x1_0000]);
        assert_eq!(edit(&movie(1000, &several), 7).map(|edit| (edit.start, edit.length)), Some((64, 0)));
        assert_eq!(Edit { start: 5, ..Edit::default() }.cut(48_000).most, None);
    }

    #[test]
    fn offsets_that_no_file_has_are_found() {
        let table = |name: &[u8; 4], body: &[u32]| boxed(b"moov", &boxed(name, &numbers(body)));
        assert!(!has_wild_offset(&table(b"stco", &[0, 2, 40, 0x7fff_ffff])));
        assert!(has_wild_offset(&table(b"stco", &[0, 2, 40, 0x8000_0000])));
        assert!(!has_wild_offset(&table(b"co64", &[0, 1, 0, 40])));
        assert!(has_wild_offset(&table(b"co64", &[0, 1, 1, 40])));
        let fragment = |base: &[u32], run: &[u32]| {
            let run = [boxed(b"tfhd", &numbers(base)), boxed(b"trun", &numbers(run))].concat();
            [boxed(b"free", &[0; 92]), boxed(b"moof", &boxed(b"traf", &run))].concat()
        };
        let [far, back] = [0x8000_0000, (-200_i32) as u32];
        assert!(!has_wild_offset(&fragment(&[0, 7], &[1, 9, 90])));
        assert!(!has_wild_offset(&fragment(&[0, 7], &[0, 9, back])), "a run without an offset");
        assert!(has_wild_offset(&fragment(&[0, 7], &[1, 9, back])));
        assert!(!has_wild_offset(&fragment(&[1, 7, 0, 300], &[1, 9, back])));
        assert!(has_wild_offset(&fragment(&[1, 7, 0, far], &[1, 9, 0])));
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        let whole = movie(600, &numbers(&[0, 1, 300, 2112, 0x1_0000]));
        assert!(!is_cut(&whole));
        let cuts: Vec<usize> = (1..whole.len()).filter(|cut| !is_cut(&whole[..*cut])).collect();
        assert_eq!(cuts, [12, 12 + 58], "only between boxes of the top");
        assert!((0..whole.len()).all(|cut| edit(&whole[..cut], 7).is_none() || cut > whole.len() - 12));
        let huge = [&numbers(&[1])[..], b"moov", &[0x80, 0, 0, 0, 0, 0, 0, 0], &whole].concat();
        assert!(edit(&huge, 7).is_some(), "a box of 2^63 bytes is entered and ends with the file");
        let nested = (0..100).fold(Vec::new(), |inner, _| boxed(b"moov", &inner));
        assert_eq!(edit(&nested, 7), None);
        let too_long = [&boxed(b"moov", &numbers(&[99, 0x6672_6565, 0]))[..], &whole].concat();
        assert!(edit(&too_long, 7).is_some(), "a length ends with the box around it");
        assert_eq!(edit(&[&[0; 4][..], b"free", &whole].concat(), 7), None);
        assert_eq!(first_edit(&numbers(&[0, u32::MAX, 3])), None);
    }
}
