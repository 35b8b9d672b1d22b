//! A job: an order on somebody's account. Orders were checked against their model when they were made, so whoever holds one
//! need not look again.

use std::fmt;
use std::sync::Arc;

use crate::{ChatOrder, ImageOrder, ModelCard, ModelId, Priority, SpeechOrder, TenantId};

/// The host's name of a job: 128 random bits in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct JobId(String);

impl JobId {
    /// A new name that nobody can guess.
    pub fn mint() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be made. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Order {
    /// Pictures.
    Image(Arc<ImageOrder>),
    /// Text from speech.
    Speech(Arc<SpeechOrder>),
    /// A reply to a conversation.
    Chat(Arc<ChatOrder>),
}

impl Order {
    /// The model that it is for.
    pub fn model(&self) -> &ModelCard {
        match self {
            Self::Image(order) => &order.model.card,
            Self::Speech(order) => &order.model.card,
            Self::Chat(order) => &order.model.card,
        }
    }

    /// The model that ends what its own begins, if there is one.
    pub(crate) fn refiner(&self) -> Option<&ModelId> {
        match self {
            Self::Image(order) => order.refiner.as_ref().map(|refiner| &refiner.model.card.id),
            Self::Speech(_) | Self::Chat(_) => None,
        }
    }

    /// How much there is to do, in a unit of its own kind: denoised pixels, samples of audio, or tokens.
    pub fn work(&self) -> u64 {
        match self {
            Self::Image(order) => order.work(),
            Self::Speech(order) => order.work(),
            Self::Chat(order) => order.work(),
        }
    }

    /// What it is called where it does not fit.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Image(order) => order.title(),
            Self::Speech(order) => order.title(),
            Self::Chat(order) => order.title(),
        }
    }

    /// What would make it fit the memory.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::Image(_) => "ask for smaller or fewer pictures",
            Self::Speech(_) => "send shorter audio, or follow fewer texts side by side",
            Self::Chat(_) => "ask for fewer tokens, or send a shorter conversation",
        }
    }
}

impl From<ImageOrder> for Order {
    fn from(order: ImageOrder) -> Self {
        Self::Image(Arc::new(order))
    }
}

impl From<SpeechOrder> for Order {
    fn from(order: SpeechOrder) -> Self {
        Self::Speech(Arc::new(order))
    }
}

impl From<ChatOrder> for Order {
    fn from(order: ChatOrder) -> Self {
        Self::Chat(Arc::new(order))
    }
}

/// An order on somebody's account.
#[derive(Debug, Clone)]
pub struct Job {
    /// Minted here.
    pub id: JobId,
    /// On whose account; never a guest's own choice.
    pub tenant: TenantId,
    /// Within its tenant.
    pub priority: Priority,
    /// What is to be made.
    pub order: Order,
}

impl Job {
    /// A job of the default tenant, with normal priority.
    pub fn new(order: impl Into<Order>) -> Self {
        let (id, order) = (JobId::mint(), order.into());
        Self { id, tenant: TenantId::default(), priority: Priority::default(), order }
    }

    /// The same job on a tenant's account.
    pub fn for_tenant(self, tenant: TenantId, priority: Priority) -> Self {
        Self { tenant, priority, ..self }
    }
}
