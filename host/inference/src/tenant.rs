//! On whose account work is done: a tenant's name, and whose work goes first. Who a caller is, and what a tenant may use,
//! is decided elsewhere; here are only the words that everybody shares.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest tenant id.
const MAX_ID_BYTES: usize = 64;

/// A tenant's name: 1 to 64 of `a`-`z`, `0`-`9`, `-` and `_`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Takes a name that is well formed.
    pub fn new(id: &str) -> Option<TenantId> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let fits = (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(allowed);
        fits.then(|| TenantId(id.into()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    /// Whom work belongs to that belongs to nobody.
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for TenantId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Whose work goes first where everything else is equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// After the others.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Before the others.
    High,
}

impl FromStr for Priority {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "low" => Ok(Self::Low),
            "normal" => Ok(Self::Normal),
            "high" => Ok(Self::High),
            _ => Err("wants low, normal or high"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_id_is_short_plain_and_lower_case() {
        for good in ["a", "team-7_b", &"x".repeat(64)] {
            assert_eq!(TenantId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "A", "a b", "a.b", "ä", "a/b", &"x".repeat(65)] {
            assert!(TenantId::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_default_tenant_has_a_well_formed_id() {
        assert_eq!(TenantId::new("default"), Some(TenantId::default()));
        assert_eq!(TenantId::default().to_string(), "default");
    }

    #[test]
    fn priorities_are_ordered_and_read_by_name() {
        assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::High);
        assert_eq!("high".parse(), Ok(Priority::High));
        assert!("High".parse::<Priority>().is_err());
    }
}
