//! What is written of the WebSocket, `infra/asyncapi.yaml`, as something that messages are held against.

use std::{collections::BTreeMap, fs};

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::Value;

use crate::workspace_root;

/// Where the compiler is told that the document is.
const DOCUMENT: &str = "https://onepool.example/asyncapi.json";
/// Where AsyncAPI says that its own schema is.
const ASYNCAPI: &str = "http://asyncapi.com/definitions/3.0.0/asyncapi.json";

/// The document.
pub struct AsyncApi {
    /// As it is written.
    pub document: Value,
    schemas: Schemas,
    /// By pointer: the payload of each message, and each schema.
    compiled: BTreeMap<String, SchemaIndex>,
    of_the_document: SchemaIndex,
}

impl AsyncApi {
    /// The document of this project.
    ///
    /// # Panics
    /// It cannot be read, or is not AsyncAPI.
    #[must_use]
    pub fn read() -> Self {
        let text = fs::read_to_string(workspace_root().join("infra/asyncapi.yaml"))
            .expect("there is a document");
        let document: Value = serde_yaml_ng::from_str(&text).expect("is YAML");
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V7);
        compiler.enable_format_assertions();
        let schema = serde_json::from_str(include_str!("asyncapi-3.0.0.schema.json"))
            .expect("the schema is JSON");
        for (address, resource) in [(ASYNCAPI, schema), (DOCUMENT, document.clone())] {
            compiler
                .add_resource(address, resource)
                .expect("is a resource");
        }
        let mut schemas = Schemas::new();
        let mut compile = |address: &str| {
            compiler
                .compile(address, &mut schemas)
                .unwrap_or_else(|error| panic!("{address}: {error:#}"))
        };
        let of_the_document = compile(ASYNCAPI);
        let names = |kind: &str| {
            document["components"][kind]
                .as_object()
                .expect("components")
                .keys()
        };
        let compiled = names("messages")
            .map(|name| format!("/components/messages/{name}/payload"))
            .chain(names("schemas").map(|name| format!("/components/schemas/{name}")))
            .map(|pointer| (pointer.clone(), compile(&format!("{DOCUMENT}#{pointer}"))))
            .collect();
        let api = Self {
            document,
            schemas,
            compiled,
            of_the_document,
        };
        api.is_asyncapi(&api.document)
            .expect("the document is AsyncAPI 3.0");
        api
    }

    /// Holds a document against the schema of AsyncAPI.
    ///
    /// # Errors
    /// It does not fit: why.
    pub fn is_asyncapi(&self, document: &Value) -> Result<(), String> {
        self.validate(self.of_the_document, document)
    }

    /// Holds `value` against the payload or schema at `pointer`.
    ///
    /// # Errors
    /// It does not fit: why.
    ///
    /// # Panics
    /// Nothing is written there.
    pub fn check(&self, pointer: &str, value: &Value) -> Result<(), String> {
        let schema = self.compiled.get(pointer);
        self.validate(
            *schema.unwrap_or_else(|| panic!("nothing at {pointer}")),
            value,
        )
    }

    /// Holds a frame that somebody was sent against what is written of frames.
    ///
    /// # Panics
    /// It does not fit.
    pub fn must_be_a_frame(&self, frame: &Value) {
        if let Err(why) = self.check("/components/messages/frame/payload", frame) {
            panic!("{frame} is not what is written: {why}");
        }
    }

    /// The types of event that a frame may have.
    #[must_use]
    pub fn events(&self) -> Vec<&str> {
        let alternatives = self.document["components"]["schemas"]["Event"]["oneOf"].as_array();
        alternatives
            .expect("a choice of events")
            .iter()
            .filter_map(|event| event["$ref"].as_str()?.rsplit('/').next())
            .collect()
    }

    fn validate(&self, schema: SchemaIndex, value: &Value) -> Result<(), String> {
        self.schemas
            .validate(value, schema)
            .map_err(|error| format!("{error:#}"))
    }
}
