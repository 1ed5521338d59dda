//! The topics that the log knows: what was defined, in which schemas, and which offset comes next.
//!
//! A `Topic` never changes once it is shared; a definition puts another one in its place. So whoever prepared rows against a topic knows, by comparing
//! pointers, whether it still holds in the commit section. Dropped topics stay: their id is not free, and their records must stay readable.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use regauge_types::{SchemaId, TopicId};

use crate::LogError;
use crate::archive::check_archivable;
use crate::format::schema;
use crate::model::{Definition, TopicSpec};

/// Most partitions that a topic may have.
pub const PARTITIONS_MAX: u32 = 4096;
/// Longest name of a topic, in bytes.
pub const NAME_LEN_MAX: usize = 1024;

/// A topic and all its schemas.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// As defined; with the current schema.
    pub spec: TopicSpec,
    /// Takes no more appends.
    pub dropped: bool,
    /// Every schema that rows were ever written with.
    pub schemas: BTreeMap<SchemaId, SchemaRef>,
}

/// All topics. Cloning shares them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Topics(Arc<BTreeMap<TopicId, Arc<Topic>>>);

impl Topics {
    /// A topic, dropped or not.
    #[must_use]
    pub fn get(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.0.get(&id)
    }

    /// A topic that takes appends.
    pub fn live(&self, id: TopicId) -> Result<&Arc<Topic>, LogError> {
        match self.0.get(&id) {
            None => Err(LogError::UnknownTopic { topic: id }),
            Some(topic) if topic.dropped => Err(LogError::DroppedTopic { topic: id }),
            Some(topic) => Ok(topic),
        }
    }

    /// A schema of a topic.
    #[must_use]
    pub fn schema(&self, id: TopicId, schema: SchemaId) -> Option<&SchemaRef> {
        self.0.get(&id)?.schemas.get(&schema)
    }

    /// All topics by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.0.values()
    }

    /// What a definition makes of the topic it names; nothing is changed yet.
    pub fn decide(&self, definition: &Definition) -> Result<Topic, LogError> {
        match definition {
            Definition::Topic(spec) => self.decide_topic(spec),
            Definition::Schema { topic, id, schema } => self.decide_schema(*topic, *id, schema),
            Definition::DropTopic(id) => Ok(Topic { dropped: true, ..Topic::clone(self.live(*id)?) }),
        }
    }

    fn decide_topic(&self, spec: &TopicSpec) -> Result<Topic, LogError> {
        let bad = |reason: String| Err(LogError::BadDefinition { topic: spec.id, reason });
        if self.0.contains_key(&spec.id) {
            return bad("id is taken".to_owned());
        }
        if spec.name.len() > NAME_LEN_MAX {
            return bad(format!("name is too long len={} max={NAME_LEN_MAX}", spec.name.len()));
        }
        if self.0.values().any(|t| !t.dropped && t.spec.name == spec.name) {
            return bad(format!("name is taken name={:?}", spec.name));
        }
        if spec.partitions == 0 || spec.partitions > PARTITIONS_MAX {
            return bad(format!("impossible number of partitions partitions={} max={PARTITIONS_MAX}", spec.partitions));
        }
        if let Some(column) = spec.partition_by.iter().find(|column| **column >= spec.schema.fields().len()) {
            return bad(format!("partition_by names a column that is not there column={column}"));
        }
        schema::check(&spec.schema)?;
        check_archivable(&spec.schema)?;
        Ok(Topic { spec: spec.clone(), dropped: false, schemas: BTreeMap::from([(spec.schema_id, Arc::clone(&spec.schema))]) })
    }

    fn decide_schema(&self, id: TopicId, schema_id: SchemaId, schema: &SchemaRef) -> Result<Topic, LogError> {
        let bad = |reason: String| Err(LogError::BadDefinition { topic: id, reason });
        let mut topic = Topic::clone(self.live(id)?);
        if let Some((newest, _)) = topic.schemas.last_key_value().filter(|(newest, _)| **newest >= schema_id) {
            return bad(format!("schema id does not ascend schema={schema_id} newest={newest}"));
        }
        for column in &topic.spec.partition_by {
            let same =
                schema.fields().get(*column).is_some_and(|f| f.data_type() == topic.spec.schema.field(*column).data_type());
            if !same {
                return bad(format!("a column of partition_by would change column={column}"));
            }
        }
        schema::check(schema)?;
        check_archivable(schema)?;
        topic.spec.schema_id = schema_id;
        topic.spec.schema = Arc::clone(schema);
        topic.schemas.insert(schema_id, Arc::clone(schema));
        Ok(topic)
    }

    /// Puts a topic in place of what had its id, which is returned.
    pub fn put(&mut self, topic: Topic) -> Option<Arc<Topic>> {
        Arc::make_mut(&mut self.0).insert(topic.spec.id, Arc::new(topic))
    }

    /// Takes back a [`Topics::put`].
    pub fn restore(&mut self, id: TopicId, before: Option<Arc<Topic>>) {
        let topics = Arc::make_mut(&mut self.0);
        match before {
            Some(topic) => topics.insert(id, topic),
            None => topics.remove(&id),
        };
    }
}
