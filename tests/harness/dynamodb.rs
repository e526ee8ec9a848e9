//! A DynamoDB emulator in this process, over HTTP, with the tables of the template.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};

/// A running emulator. It stops with this value.
pub struct DynamoDb {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl DynamoDb {
    /// Starts one, empty.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let database = dynoxide::Database::memory().expect("a database in memory");
        let task = tokio::spawn(dynoxide::server::serve_on(listener, database));
        Self { url, task }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates the three tables.
    pub async fn create_tables(client: &aws_sdk_dynamodb::Client) {
        for (table, keys) in [
            ("catalog", &["pk", "sk"][..]),
            ("stock", &["pk", "sk"]),
            ("orders", &["pk"]),
        ] {
            let mut create = client
                .create_table()
                .table_name(table)
                .billing_mode(BillingMode::PayPerRequest);
            for (key, kind) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
                create = create
                    .attribute_definitions(
                        AttributeDefinition::builder()
                            .attribute_name(*key)
                            .attribute_type(ScalarAttributeType::S)
                            .build()
                            .expect("complete"),
                    )
                    .key_schema(
                        KeySchemaElement::builder()
                            .attribute_name(*key)
                            .key_type(kind)
                            .build()
                            .expect("complete"),
                    );
            }
            create.send().await.expect("the table is created");
        }
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        self.task.abort();
    }
}
