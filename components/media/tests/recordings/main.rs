//! Recordings against the decoder: as recorders write them, and as nobody should.
//!
//! The files beside this one, and the samples that they must become, are made by `make_recordings.py` and
//! `make_browser_recordings.py`; `ATELIER_RECORDINGS_DIR` names another folder with the same names in it, made with another seed.

mod browsers;
mod files;
mod formats;
mod hostile;
