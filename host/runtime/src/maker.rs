//! What makes a job's result, as one text: the code and configuration of its route, and the models that the job names as they are
//! now. Where the text is the same, the same work has the same result, and what an earlier job made will do.
//!
//! A model is known by all that the catalog says of it and by how its files stand ([`Runtime::know_files_by`]); of one that is
//! served elsewhere there is only its name there.
//!
//! [`Runtime::know_files_by`]: crate::Runtime::know_files_by

use std::sync::Arc;

use atelier_inference::ModelId;

use crate::runtime::Host;
use crate::sandbox::Route;

/// How the files of a model stand: another text whenever they are others. Looks at a disk.
pub(crate) type Files = Arc<dyn Fn(&ModelId) -> String + Send + Sync>;

impl Host {
    /// What would do a job's work now. The text says which model cannot be used.
    pub(crate) async fn maker(&self, route: &Route, models: &[String]) -> Result<String, String> {
        let mut maker = blake3::Hasher::new();
        maker.update(route.identity.as_bytes());
        for name in models {
            let id = ModelId::new(name.as_str());
            let info = self.granted(route, &id)?;
            let files = match self.model_files.get().cloned() {
                Some(files) => tokio::task::spawn_blocking(move || files(&id)).await.unwrap_or_default(),
                None => String::new(),
            };
            maker.update(format!("\0{info}\0{files}").as_bytes());
        }
        Ok(maker.finalize().to_hex().to_string())
    }

    /// All that the catalog says of a model that the route may use.
    fn granted(&self, route: &Route, id: &ModelId) -> Result<String, String> {
        let grants = &route.grants;
        if let Some(absent) = grants.absent.iter().find(|absent| absent.id == *id) {
            return Err(absent.fix.clone());
        }
        let info = grants.models.contains(id).then(|| self.model(id)).flatten();
        let info = info.ok_or_else(|| format!("there is no model `{id}` among `grants.models` of the route"));
        info.map(|info| format!("{info:?}"))
    }
}
