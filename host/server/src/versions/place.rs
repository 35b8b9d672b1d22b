//! Where in a route a component stands, as the manifest's keys call it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{CodeSource, Route};

/// A place for one component. Ordered as the manifest's keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The handler.
    Component,
    /// The plugin of the stage `intent`.
    Intent,
    /// A plugin of the stage `style`, counted from 0.
    Style(usize),
    /// The plugin of the stage `select`.
    Select,
    /// A plugin of the stage `finish`, counted from 0.
    Finish(usize),
}

impl Place {
    /// What the manifest names there; `None` when the route has no such place.
    pub(crate) fn source(self, route: &Route) -> Option<&CodeSource> {
        match self {
            Place::Component => Some(&route.component),
            Place::Intent => route.intent.as_ref(),
            Place::Style(index) => route.style.get(index),
            Place::Select => route.select.as_ref(),
            Place::Finish(index) => route.finish.get(index),
        }
    }

    /// Every place of a route.
    pub(crate) fn all(route: &Route) -> impl Iterator<Item = Place> {
        let intent = route.intent.iter().map(|_| Place::Intent);
        let style = (0..route.style.len()).map(Place::Style);
        let select = route.select.iter().map(|_| Place::Select);
        std::iter::once(Place::Component)
            .chain(intent)
            .chain(style)
            .chain(select)
            .chain((0..route.finish.len()).map(Place::Finish))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Component => f.write_str("component"),
            Place::Intent => f.write_str("intent"),
            Place::Style(index) => write!(f, "style.{index}"),
            Place::Select => f.write_str("select"),
            Place::Finish(index) => write!(f, "finish.{index}"),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let index = |text: &str| text.parse().ok();
        let place = match text.split_once('.') {
            None if text == "component" => Some(Place::Component),
            None if text == "intent" => Some(Place::Intent),
            None if text == "select" => Some(Place::Select),
            Some(("style", rest)) => index(rest).map(Place::Style),
            Some(("finish", rest)) => index(rest).map(Place::Finish),
            _ => None,
        };
        place.ok_or_else(|| {
            format!("wants component, intent, style.0, select, finish.0 and so on, not `{text}`")
        })
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_it_is_read() {
        for text in ["component", "intent", "select", "style.0", "finish.12"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in ["", "intent.0", "style", "style.", "style.-1", "component.0", "media"] {
            assert!(text.parse::<Place>().unwrap_err().contains("finish.0"), "{text}");
        }
    }
}
