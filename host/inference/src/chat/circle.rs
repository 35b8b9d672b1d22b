//! Who may use again what the engine computed for a prompt.

use crate::TenantId;

/// Orders of one circle may share what was computed for the beginning of their conversations, and nobody else notices, not
/// even by the time that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Circle([u8; 32]);

impl Circle {
    /// The circle of a tenant on a route.
    pub fn new(tenant: &TenantId, route: &str) -> Self {
        // no tenant id has a line break, so no two pairs are written alike
        Self(*blake3::hash(format!("{tenant}\n{route}").as_bytes()).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_and_routes_are_apart() {
        let tenant = |id| TenantId::new(id).unwrap();
        let circle = Circle::new(&tenant("a"), "chat");
        assert_eq!(circle, Circle::new(&tenant("a"), "chat"));
        assert_ne!(circle, Circle::new(&tenant("b"), "chat"));
        assert_ne!(circle, Circle::new(&tenant("a"), "other"));
    }
}
