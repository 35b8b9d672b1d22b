//! An owner's pictures: what is known of each, which is the present one, and which were before it. Kept as one value under the
//! owner's name, changed by compare and swap, so that requests beside each other lose nothing. The files are elsewhere
//! (`pictures`).

use atelier_kit::Storage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::settings::BUCKET;

/// The most pictures of a gallery: what is known of them fits one value of the host's.
const MAX_PICTURES: usize = 400;
/// How often one can go back.
const MAX_TRAIL: usize = 200;

/// What is known of a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Picture {
    /// The file's name.
    pub(crate) name: String,
    /// What was drawn.
    pub(crate) prompt: String,
    /// What was said, or its beginning.
    pub(crate) command: String,
    /// `create` or `edit`.
    pub(crate) action: String,
    /// What it was made of.
    pub(crate) parent: Option<String>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// As RFC 3339 has it.
    pub(crate) created: String,
    pub(crate) seed: u64,
    pub(crate) mode: String,
    pub(crate) model: String,
}

impl Picture {
    /// As clients see it; addresses are relative to the page.
    pub(crate) fn shown(&self) -> Value {
        let mut value = json!(self);
        value["url"] = format!("images/{}", self.name).into();
        value["thumbnail"] = format!("images/thumbnails/{}", self.name).into();
        value
    }
}

/// Everything that is kept under an owner's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gallery {
    /// The account's name, once there is one.
    pub(crate) account: Option<String>,
    /// The oldest first.
    pub(crate) images: Vec<Picture>,
    /// Names of those that were the present one, which is the last.
    trail: Vec<String>,
}

impl Gallery {
    /// An owner's; empty where nothing was kept yet.
    pub(crate) async fn load(host: &impl Storage, owner: &str) -> Result<Self, Failure> {
        Self::read(host.get(BUCKET, &key(owner)).await?.as_deref())
    }

    /// Changes an owner's. `change` may be asked several times.
    pub(crate) async fn change<T>(
        host: &impl Storage,
        owner: &str,
        mut change: impl FnMut(&mut Self) -> Result<T, Failure>,
    ) -> Result<(Self, T), Failure> {
        host.update(BUCKET, &key(owner), |present| {
            let mut gallery = Self::read(present)?;
            let made = change(&mut gallery)?;
            let value = serde_json::to_vec(&gallery).map_err(|_| broken())?;
            Ok((value, (gallery, made)))
        })
        .await
    }

    fn read(value: Option<&[u8]>) -> Result<Self, Failure> {
        value.map_or_else(|| Ok(Self::default()), |value| serde_json::from_slice(value).map_err(|_| broken()))
    }

    /// The present picture's name.
    pub(crate) fn current(&self) -> Option<&str> {
        self.trail.last().map(String::as_str)
    }

    /// A picture of this owner's.
    pub(crate) fn find(&self, name: &str) -> Result<&Picture, Failure> {
        self.images.iter().find(|picture| picture.name == name).ok_or_else(|| Failure::no_such_picture(name))
    }

    /// Refuses where there is no room for one more.
    pub(crate) fn has_room(&self) -> Result<(), Failure> {
        if self.images.len() < MAX_PICTURES {
            return Ok(());
        }
        let text =
            format!("your gallery has {MAX_PICTURES} pictures, which is all that it holds; delete some");
        Err(Failure::new(507, "gallery_full", text))
    }

    /// Adds a picture, which becomes the present one.
    pub(crate) fn add(&mut self, picture: Picture) -> Result<(), Failure> {
        self.has_room()?;
        self.step(picture.name.clone());
        self.images.push(picture);
        Ok(())
    }

    /// Makes a picture the present one.
    pub(crate) fn choose(&mut self, name: &str) -> Result<(), Failure> {
        let name = self.find(name)?.name.clone();
        if self.current() != Some(&name) {
            self.step(name);
        }
        Ok(())
    }

    /// Goes back to the picture before the present one.
    pub(crate) fn back(&mut self) -> Result<Picture, Failure> {
        let [.., before, _] = &self.trail[..] else {
            let text = "there is no image before this one to go back to";
            return Err(Failure::new(422, "nothing_to_undo", text));
        };
        let picture = self.find(before)?.clone();
        self.trail.pop();
        Ok(picture)
    }

    /// Takes a picture out. What was made of it hangs on what it was made of.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Failure> {
        let parent = self.find(name)?.parent.clone();
        self.images.retain(|picture| picture.name != name);
        for picture in self.images.iter_mut().filter(|picture| picture.parent.as_deref() == Some(name)) {
            picture.parent.clone_from(&parent);
        }
        self.trail.retain(|known| known != name);
        self.trail.dedup();
        Ok(())
    }

    /// Takes over what another gallery has, as its newest pictures.
    pub(crate) fn take_over(&mut self, other: Self) {
        let known = |name: &str| self.images.iter().any(|picture| picture.name == name);
        let new: Vec<_> = other.images.into_iter().filter(|picture| !known(&picture.name)).collect();
        let room = MAX_PICTURES.saturating_sub(self.images.len());
        self.images.extend(new.into_iter().take(room));
        let here: Vec<_> = self.images.iter().map(|picture| picture.name.clone()).collect();
        other.trail.into_iter().filter(|name| here.contains(name)).for_each(|name| self.step(name));
    }

    /// Lets go of what another gallery has.
    pub(crate) fn leave_to(&mut self, other: &Self) {
        let theirs = |name: &str| other.images.iter().any(|picture| picture.name == name);
        self.images.retain(|picture| !theirs(&picture.name));
        self.trail.retain(|name| !theirs(name));
    }

    fn step(&mut self, name: String) {
        if self.trail.len() >= MAX_TRAIL {
            self.trail.remove(0);
        }
        self.trail.push(name);
    }

    /// As clients see it, the newest picture first.
    pub(crate) fn shown(&self) -> Value {
        let images: Vec<_> = self.images.iter().rev().map(Picture::shown).collect();
        json!({"images": images, "current": self.current()})
    }
}

fn key(owner: &str) -> String {
    format!("gallery/{owner}")
}

fn broken() -> Failure {
    Failure::backend("what is kept of this gallery cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: &str, parent: Option<&str>) -> Picture {
        Picture {
            name: name.into(),
            prompt: String::new(),
            command: String::new(),
            action: "create".into(),
            parent: parent.map(str::to_owned),
            width: 8,
            height: 8,
            created: String::new(),
            seed: 1,
            mode: "local_fast".into(),
            model: "nano".into(),
        }
    }

    fn gallery() -> Gallery {
        let mut gallery = Gallery::default();
        for (name, parent) in [("a", None), ("b", Some("a")), ("c", Some("b"))] {
            gallery.add(picture(name, parent)).expect("room");
        }
        gallery
    }

    #[test]
    fn one_goes_back_the_way_that_one_came() {
        let mut gallery = gallery();
        gallery.choose("a").expect("there");
        assert_eq!(gallery.back().map(|picture| picture.name).as_deref(), Ok("c"));
        assert_eq!(gallery.back().map(|picture| picture.name).as_deref(), Ok("b"));
        assert_eq!(gallery.back().map(|picture| picture.name).as_deref(), Ok("a"));
        assert!(gallery.back().is_err() && gallery.current() == Some("a"));
    }

    #[test]
    fn what_was_made_of_a_picture_stays_in_the_tree_without_it() {
        let mut gallery = gallery();
        gallery.remove("b").expect("there");
        assert_eq!(gallery.find("c").map(|picture| picture.parent.as_deref()), Ok(Some("a")));
        assert_eq!(gallery.back().map(|picture| picture.name).as_deref(), Ok("a"));
        assert!(gallery.remove("b").is_err());
    }

    #[test]
    fn a_gallery_is_bounded_and_takes_another_over() {
        let mut gallery = gallery();
        let mut other = Gallery::default();
        other.add(picture("d", None)).expect("room");
        gallery.take_over(other);
        assert_eq!((gallery.images.len(), gallery.current()), (4, Some("d")));
        for number in 4..MAX_PICTURES {
            gallery.add(picture(&format!("{number}"), None)).expect("room");
        }
        assert!(gallery.add(picture("more", None)).is_err());
        assert_eq!(gallery.trail.len(), MAX_TRAIL);
    }
}
