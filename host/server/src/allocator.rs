//! The binary's memory: small pieces from mimalloc, large ones from the system. A request is hundreds of small pieces, which
//! cost the system's allocator a tenth of its time. Large ones are tensors: the engine hands them back to the system when a
//! model goes, which mimalloc would do only once the thread that had allocated them allocates again.

use std::alloc::{GlobalAlloc, Layout, System};

use mimalloc::MiMalloc;

/// From here on a piece is large, in bytes.
const LARGE: usize = 64 << 10;

/// Asks one of the two, by a piece's size.
pub(crate) struct BySize;

const fn is_large(bytes: usize) -> bool {
    bytes >= LARGE
}

#[expect(unsafe_code, reason = "an allocator is unsafe by nature")]
// SAFETY: a piece goes back to where it came from, since its layout says where that was; the rest is theirs
unsafe impl GlobalAlloc for BySize {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { if is_large(layout.size()) { System.alloc(layout) } else { MiMalloc.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe {
            if is_large(layout.size()) { System.alloc_zeroed(layout) } else { MiMalloc.alloc_zeroed(layout) }
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        unsafe {
            if is_large(layout.size()) {
                System.dealloc(piece, layout);
            } else {
                MiMalloc.dealloc(piece, layout);
            }
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        unsafe {
            match (is_large(layout.size()), is_large(bytes)) {
                (true, true) => System.realloc(piece, layout, bytes),
                (false, false) => MiMalloc.realloc(piece, layout, bytes),
                _ => self.move_over(piece, layout, bytes),
            }
        }
    }
}

impl BySize {
    /// From one to the other.
    ///
    /// # Safety
    /// As of [`GlobalAlloc::realloc`].
    #[expect(unsafe_code, reason = "an allocator is unsafe by nature")]
    unsafe fn move_over(&self, piece: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: by the caller's word the new size fits the alignment; the two pieces are apart
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(bytes, layout.align()));
            if !moved.is_null() {
                piece.copy_to_nonoverlapping(moved, layout.size().min(bytes));
                self.dealloc(piece, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_keeps_what_it_holds_while_it_grows_past_the_border_and_shrinks_back() {
        // the test's own allocator is this one: see main.rs
        let mut bytes: Vec<u8> = Vec::new();
        for number in 0..4 * LARGE {
            bytes.push(number as u8);
        }
        bytes.truncate(LARGE / 2);
        bytes.shrink_to_fit();
        assert!(bytes.iter().enumerate().all(|(number, byte)| *byte == number as u8));
        assert!(vec![0u8; LARGE].iter().chain(&vec![0u8; LARGE - 1]).all(|byte| *byte == 0));
    }
}
