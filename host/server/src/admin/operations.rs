//! The table of everything that the admin address answers. Dispatch and the OpenAPI document are both made from it, so
//! neither can say what the other does not do.

use std::collections::BTreeMap;

use http::{Method, StatusCode};

use super::fault::Fault;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody: probes of machines.
    Open,
    /// Whoever has the operators' key, or everybody who reaches the address where there is none.
    Read,
    /// Whoever has the operators' key. It is noted in the audit log.
    Change,
}

/// What an operation does; `mod.rs` has an arm for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Health,
    Ready,
    Version,
    Status,
    Tenants,
    Metrics,
    OpenApi,
    Routes,
    Route,
    Versions,
    Upload,
    Promote,
    Rollback,
    Drain,
    Resume,
    Tenant,
    MintKey,
    RevokeKey,
    Models,
    Model,
    LoadModel,
    UnloadModel,
    PinModel,
    UnpinModel,
    Queue,
    CancelJob,
    Jobs,
    Audit,
}

/// The methods that the address takes; HEAD is asked as GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    pub(super) fn method(self) -> Method {
        match self {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Delete => Method::DELETE,
        }
    }
}

/// A parameter of the query. Values are plain: nothing in them is ever encoded.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) default: &'static str,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) call: Call,
    pub(super) id: &'static str,
    pub(super) verb: Verb,
    /// `{name}` stands for one segment.
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) summary: &'static str,
    pub(super) query: &'static [Parameter],
    /// The answer when all goes well, and its schema in the document; text when there is none.
    pub(super) answer: (StatusCode, Option<&'static str>),
}

const PLACE: Parameter = Parameter {
    name: "place",
    summary: "where the component stands: component, intent, style.0, select, finish.0 and so on, counted as in the manifest",
    default: "component",
};
const PROMOTE: Parameter =
    Parameter { name: "promote", summary: "whether it serves at once; else it waits", default: "true" };
const TO: Parameter =
    Parameter { name: "to", summary: "previous, manifest, or a version's number", default: "previous" };
const NAME: Parameter =
    Parameter { name: "name", summary: "what logs call the key; made up when left out", default: "" };
const LIMIT: Parameter = Parameter { name: "limit", summary: "how many, from 1 to 1000", default: "100" };

const fn get(call: Call, id: &'static str, path: &'static str, summary: &'static str) -> Operation {
    Operation {
        call,
        id,
        verb: Verb::Get,
        path,
        access: Access::Read,
        summary,
        query: &[],
        answer: (StatusCode::OK, Some("Object")),
    }
}

const fn post(call: Call, id: &'static str, path: &'static str, summary: &'static str) -> Operation {
    Operation { verb: Verb::Post, access: Access::Change, ..get(call, id, path, summary) }
}

const fn delete(call: Call, id: &'static str, path: &'static str, summary: &'static str) -> Operation {
    Operation { verb: Verb::Delete, access: Access::Change, ..get(call, id, path, summary) }
}

const fn ok(schema: &'static str) -> (StatusCode, Option<&'static str>) {
    (StatusCode::OK, Some(schema))
}

const fn created(schema: &'static str) -> (StatusCode, Option<&'static str>) {
    (StatusCode::CREATED, Some(schema))
}

/// All of them, in the order in which people read them.
pub(super) static OPERATIONS: [Operation; 30] = [
    Operation { access: Access::Open, ..get(Call::Health, "health", "/health", "Whether the process lives") },
    Operation {
        access: Access::Open,
        ..get(Call::Ready, "ready", "/ready", "Whether it takes requests; 503 with the reasons if not")
    },
    Operation { access: Access::Open, ..get(Call::Version, "version", "/version", "Which version runs") },
    get(Call::Status, "status", "/status", "Everything at a glance"),
    get(Call::Tenants, "tenantsOverview", "/tenants", "The same as /v1/tenants"),
    Operation {
        answer: (StatusCode::OK, None),
        ..get(Call::Metrics, "metrics", "/metrics", "Counters, as Prometheus reads them")
    },
    get(Call::OpenApi, "openapi", "/v1/openapi.json", "This document"),
    get(Call::Status, "statusV1", "/v1/status", "Everything at a glance"),
    Operation { answer: ok("Routes"), ..get(Call::Routes, "listRoutes", "/v1/routes", "All routes") },
    Operation { answer: ok("Route"), ..get(Call::Route, "getRoute", "/v1/routes/{route}", "One route") },
    Operation {
        answer: ok("Versions"),
        ..get(
            Call::Versions,
            "listVersions",
            "/v1/routes/{route}/versions",
            "A route's versions, the newest first",
        )
    },
    Operation {
        query: &[PLACE, PROMOTE],
        answer: created("Version"),
        ..post(
            Call::Upload,
            "uploadComponent",
            "/v1/routes/{route}/versions",
            "Upload a component: it is checked, compiled, linked and probed, and then serves",
        )
    },
    Operation {
        answer: ok("Version"),
        ..post(
            Call::Promote,
            "promoteVersion",
            "/v1/routes/{route}/versions/{version}/promote",
            "Let a version serve that waits or served before",
        )
    },
    Operation {
        query: &[TO],
        answer: ok("Version"),
        ..post(
            Call::Rollback,
            "rollbackRoute",
            "/v1/routes/{route}/rollback",
            "Take the version that serves back, in favour of an earlier one or of the manifest's components",
        )
    },
    Operation {
        answer: ok("Route"),
        ..post(
            Call::Drain,
            "drainRoute",
            "/v1/routes/{route}/drain",
            "Take no more requests for a route (503 with retry-after); those that run finish",
        )
    },
    Operation {
        answer: ok("Route"),
        ..post(Call::Resume, "resumeRoute", "/v1/routes/{route}/resume", "Take requests for a route again")
    },
    Operation { answer: ok("Tenants"), ..get(Call::Tenants, "listTenants", "/v1/tenants", "All tenants") },
    Operation {
        answer: ok("Tenant"),
        ..get(Call::Tenant, "getTenant", "/v1/tenants/{tenant}", "One tenant, with where its keys come from")
    },
    Operation {
        query: &[NAME],
        answer: created("Key"),
        ..post(
            Call::MintKey,
            "mintKey",
            "/v1/tenants/{tenant}/keys",
            "Make a key for a tenant. It is shown this once; the host keeps its hash",
        )
    },
    delete(
        Call::RevokeKey,
        "revokeKey",
        "/v1/tenants/{tenant}/keys/{key}",
        "Revoke a key by its name. It opens nothing from the next request on",
    ),
    Operation {
        answer: ok("Models"),
        ..get(Call::Models, "listModels", "/v1/models", "All models, and what is taken of the memory")
    },
    Operation { answer: ok("Model"), ..get(Call::Model, "getModel", "/v1/models/{model}", "One model") },
    Operation {
        answer: ok("Model"),
        ..post(
            Call::LoadModel,
            "loadModel",
            "/v1/models/{model}/load",
            "Load a model after the job that runs, unloading others where need be",
        )
    },
    Operation {
        answer: ok("Model"),
        ..post(
            Call::UnloadModel,
            "unloadModel",
            "/v1/models/{model}/unload",
            "Unload a model after the job that runs; its next job loads it again",
        )
    },
    Operation {
        answer: ok("Model"),
        ..post(
            Call::PinModel,
            "pinModel",
            "/v1/models/{model}/pin",
            "Never unload a model, once it is loaded, until the host ends",
        )
    },
    Operation {
        answer: ok("Model"),
        ..post(
            Call::UnpinModel,
            "unpinModel",
            "/v1/models/{model}/unpin",
            "Let a model give way to others again",
        )
    },
    Operation {
        answer: ok("Queue"),
        ..get(Call::Queue, "getQueue", "/v1/queue", "Jobs in the order of serving")
    },
    delete(Call::CancelJob, "cancelJob", "/v1/queue/{job}", "Cancel a job that waits or runs"),
    get(
        Call::Jobs,
        "listJobs",
        "/v1/jobs",
        "Background jobs that wait, by route and tenant, and how many run",
    ),
    Operation {
        query: &[LIMIT],
        answer: ok("Audit"),
        ..get(Call::Audit, "listAudit", "/v1/audit", "Changes by operators, the newest first")
    },
];

/// What was asked for, taken apart.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) operation: &'static Operation,
    segments: BTreeMap<&'static str, String>,
    query: BTreeMap<&'static str, String>,
}

impl Asked {
    /// Finds the operation, and reads path and query by its rules.
    pub(super) fn find(method: &Method, path: &str, query: &str) -> Result<Self, Fault> {
        let mut others = Vec::new();
        for operation in &OPERATIONS {
            let Some(segments) = operation.matches(path) else { continue };
            if operation.verb.method() == *method {
                return Ok(Self { operation, segments, query: operation.read(query)? });
            }
            others.push(operation.verb.method());
        }
        Err(if others.is_empty() { Fault::NoOperation } else { Fault::Method(others) })
    }

    /// The segment that the path calls so.
    pub(super) fn segment(&self, name: &'static str) -> &str {
        self.segments.get(name).map_or("", String::as_str)
    }

    /// The parameter that was given.
    pub(super) fn given(&self, name: &'static str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The parameter, or its default, as `T`; `wants` says what that is.
    pub(super) fn parsed<T: std::str::FromStr>(
        &self,
        parameter: &'static str,
        wants: &str,
    ) -> Result<T, Fault> {
        let default = self.operation.query.iter().find(|known| known.name == parameter);
        let text = self.given(parameter).unwrap_or(default.map_or("", |known| known.default));
        text.parse().map_err(|_| Fault::Parameter(format!("`{parameter}` wants {wants}, not `{text}`")))
    }
}

impl Operation {
    /// The names between braces.
    pub(super) fn segments(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(name_of)
    }

    fn matches(&self, path: &str) -> Option<BTreeMap<&'static str, String>> {
        let mut found = BTreeMap::new();
        let mut given = path.split('/');
        for part in self.path.split('/') {
            let given = given.next()?;
            match name_of(part) {
                Some(name) if !given.is_empty() => found.insert(name, given.to_owned()),
                None if part == given => None,
                _ => return None,
            };
        }
        given.next().is_none().then_some(found)
    }

    fn read(&self, query: &str) -> Result<BTreeMap<&'static str, String>, Fault> {
        let mut found = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(known) = self.query.iter().find(|known| known.name == name) else {
                let known: Vec<&str> = self.query.iter().map(|known| known.name).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Fault::Parameter(format!("unknown parameter `{name}`; known: {known}")));
            };
            if found.insert(known.name, value.to_owned()).is_some() {
                return Err(Fault::Parameter(format!("`{name}` is given twice")));
            }
        }
        Ok(found)
    }
}

/// What stands between braces.
fn name_of(part: &'static str) -> Option<&'static str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_is_found_by_its_own_path_and_nothing_stands_twice() {
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for operation in &OPERATIONS {
            assert!(ids.insert(operation.id), "{} twice", operation.id);
            assert!(places.insert((operation.path, operation.verb)), "{} twice", operation.path);
            let path = operation.path.replace(['{', '}'], "");
            let asked = Asked::find(&operation.verb.method(), &path, "").unwrap();
            assert_eq!(asked.operation.id, operation.id);
            operation.segments().for_each(|name| assert_eq!(asked.segment(name), name));
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let find = |method, path, query| Asked::find(&method, path, query).unwrap_err();
        assert!(matches!(find(Method::GET, "/v1/routes/a/b", ""), Fault::NoOperation));
        assert!(matches!(find(Method::GET, "/v1/routes/", ""), Fault::NoOperation));
        assert!(
            matches!(find(Method::PUT, "/v1/routes", ""), Fault::Method(allowed) if allowed == [Method::GET])
        );
        let text = |query| find(Method::POST, "/v1/routes/a/rollback", query).to_string();
        assert_eq!(text("too=1"), "unknown parameter `too`; known: to");
        assert_eq!(text("to=1&to=2"), "`to` is given twice");
        let asked = Asked::find(&Method::GET, "/v1/audit", "limit=%31").unwrap();
        assert!(asked.parsed::<usize>("limit", "a number").unwrap_err().to_string().contains("limit"));
    }
}
