//! Packs the files of `page/` with gzip, as they are sent: nothing is compressed while a request waits. Knows nothing of what
//! they hold.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use flate2::{Compression, GzBuilder};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=page");
    let out = env::var("OUT_DIR")?;
    for entry in fs::read_dir("page")? {
        let path = entry?.path();
        let name = path.file_name().ok_or("a file has no name")?.to_string_lossy();
        pack(&path, &Path::new(&out).join(format!("{name}.gz")))?;
    }
    Ok(())
}

/// With neither name nor date: the same text makes the same bytes, and the head has the length that the kit counts on.
fn pack(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let mut packed = GzBuilder::new().write(fs::File::create(to)?, Compression::best());
    std::io::copy(&mut fs::File::open(from)?, &mut packed)?;
    packed.finish()?;
    Ok(())
}
