//! DynamoDB by the official SDK.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeySchemaElement, Projection, ProjectionType, TableStatus,
};

use super::super::table::{
    Change, ENTRY, Expected, Index, Indexed, Item, Key, QUESTION, Shape, Table, Value,
};
use super::super::{AwsError, Call, Failure, Reply};
use super::{RealAws, absent};

/// Pages of the entries of one question, a megabyte each: days of ticks.
const QUESTION_PAGES_MAX: usize = 100;
/// DynamoDB's word for a condition that does not hold.
const NOT_AS_EXPECTED: &str = "ConditionalCheckFailedException";

fn sent(value: &Value) -> AttributeValue {
    match value {
        Value::Text(text) => AttributeValue::S(text.clone()),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::Bytes(bytes) => AttributeValue::B(Blob::new(bytes.clone())),
    }
}

/// What gate did not write is not read either.
fn received(value: AttributeValue) -> Option<Value> {
    if let AttributeValue::B(bytes) = value {
        return Some(Value::Bytes(bytes.into_inner()));
    }
    let number = value.as_n().ok().and_then(|number| number.parse().ok()).map(Value::Number);
    number.or_else(|| value.as_s().ok().cloned().map(Value::Text))
}

fn keys(key: &Key) -> HashMap<String, AttributeValue> {
    [
        (QUESTION.to_owned(), AttributeValue::S(key.question.clone())),
        (ENTRY.to_owned(), AttributeValue::N(key.entry.to_string())),
    ]
    .into()
}

/// An item with the keys of our table; `None` for what has others.
fn item(attributes: HashMap<String, AttributeValue>) -> Option<Item> {
    let read = |(name, value)| Some((name, received(value)?));
    let mut values: BTreeMap<String, Value> = attributes.into_iter().filter_map(read).collect();
    match (values.remove(QUESTION), values.remove(ENTRY)) {
        (Some(Value::Text(question)), Some(Value::Number(entry))) => {
            Some(Item { key: Key { question, entry }, values })
        }
        _ => None,
    }
}

fn names(schema: &[KeySchemaElement]) -> Vec<String> {
    schema.iter().map(|key| key.attribute_name().to_owned()).collect()
}

/// Names and values of an expression: any name may be one of DynamoDB's hundreds of reserved words.
#[derive(Default)]
struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn name(&mut self, name: &str) -> String {
        let place = format!("#n{}", self.names.len());
        self.names.insert(place.clone(), name.to_owned());
        place
    }

    fn value(&mut self, value: &Value) -> String {
        let place = format!(":v{}", self.values.len());
        self.values.insert(place.clone(), sent(value));
        place
    }

    fn condition(&mut self, expected: &[Expected]) -> Option<String> {
        let each = expected.iter().map(|expected| match expected {
            Expected::Is(name, value) => format!("{} = {}", self.name(name), self.value(value)),
            Expected::Present(name) => format!("attribute_exists({})", self.name(name)),
            Expected::Absent(name) => format!("attribute_not_exists({})", self.name(name)),
        });
        let each: Vec<String> = each.collect();
        (!each.is_empty()).then(|| each.join(" AND "))
    }

    fn update(&mut self, change: &Change) -> String {
        let set = change.set.iter();
        let set: Vec<String> = set
            .map(|(name, value)| format!("{} = {}", self.name(name), self.value(value)))
            .collect();
        let remove: Vec<String> = change.remove.iter().map(|name| self.name(name)).collect();
        let clause = |word: &str, parts: &[String]| {
            if parts.is_empty() { String::new() } else { format!("{word} {} ", parts.join(", ")) }
        };
        format!("{}{}", clause("SET", &set), clause("REMOVE", &remove))
    }

    /// DynamoDB refuses an empty map.
    fn values(self) -> (HashMap<String, String>, Option<HashMap<String, AttributeValue>>) {
        let values = (!self.values.is_empty()).then_some(self.values);
        (self.names, values)
    }
}

impl RealAws {
    /// What is written of one question, as it is and not as it was.
    fn entries_of(&self, table: &str, question: &str) -> QueryFluentBuilder {
        self.dynamodb
            .query()
            .table_name(table)
            .consistent_read(true)
            .key_condition_expression("#n0 = :v0")
            .expression_attribute_names("#n0", QUESTION)
            .expression_attribute_values(":v0", AttributeValue::S(question.to_owned()))
    }
}

/// Whether the condition held.
fn held<T>(result: Result<T, AwsError>) -> Result<bool, AwsError> {
    match result {
        Ok(_done) => Ok(true),
        Err(error) if error.code == NOT_AS_EXPECTED => Ok(false),
        Err(error) => Err(error),
    }
}

impl Table for RealAws {
    fn shape<'a>(&'a self, table: &'a str) -> Reply<'a, Shape> {
        const CALL: Call = Call::DescribeTable;
        Box::pin(async move {
            let call = self.dynamodb.describe_table().table_name(table);
            let reply = self.ask(CALL, table, || call.clone().send()).await?;
            let found = reply.table.ok_or_else(|| absent(CALL, table, "Table"))?;
            let types: HashMap<&str, &str> = found
                .attribute_definitions()
                .iter()
                .map(|of| (of.attribute_name(), of.attribute_type().as_str()))
                .collect();
            let keys = names(found.key_schema()).into_iter().map(|name| {
                let of = types.get(name.as_str()).copied().unwrap_or_default().to_owned();
                (name, of)
            });
            let indexes = found.global_secondary_indexes().iter().filter_map(|index| {
                let projected = index.projection();
                let attributes = match projected.and_then(Projection::projection_type) {
                    Some(ProjectionType::Include | ProjectionType::KeysOnly) => {
                        projected.map(|projected| projected.non_key_attributes().to_vec())
                    }
                    Some(_) | None => None,
                };
                let keys = names(index.key_schema());
                Some((index.index_name()?.to_owned(), Index { keys, attributes }))
            });
            Ok(Shape {
                active: matches!(
                    found.table_status(),
                    Some(TableStatus::Active | TableStatus::Updating)
                ),
                keys: keys.collect(),
                indexes: indexes.collect(),
            })
        })
    }

    fn put_new<'a>(&'a self, table: &'a str, item: &'a Item) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut all = keys(&item.key);
            all.extend(item.values.iter().map(|(name, value)| (name.clone(), sent(value))));
            let mut expression = Expression::default();
            let absent = expression.condition(&[Expected::Absent(QUESTION)]);
            let (names, _none) = expression.values();
            let call = self
                .dynamodb
                .put_item()
                .table_name(table)
                .set_item(Some(all))
                .set_condition_expression(absent)
                .set_expression_attribute_names(Some(names));
            held(self.ask(Call::PutItem, table, || call.clone().send()).await)
        })
    }

    fn change<'a>(&'a self, table: &'a str, change: &'a Change) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut expression = Expression::default();
            let condition = expression.condition(&change.expected);
            let update = expression.update(change);
            let (names, values) = expression.values();
            let call = self
                .dynamodb
                .update_item()
                .table_name(table)
                .set_key(Some(keys(&change.key)))
                .set_condition_expression(condition)
                .update_expression(update)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(values);
            held(self.ask(Call::UpdateItem, table, || call.clone().send()).await)
        })
    }

    fn item<'a>(&'a self, table: &'a str, key: &'a Key) -> Reply<'a, Option<Item>> {
        Box::pin(async move {
            let call = self
                .dynamodb
                .get_item()
                .table_name(table)
                .set_key(Some(keys(key)))
                .consistent_read(true);
            let reply = self.ask(Call::GetItem, table, || call.clone().send()).await?;
            Ok(reply.item.and_then(item))
        })
    }

    fn question<'a>(&'a self, table: &'a str, question: &'a str) -> Reply<'a, Vec<Item>> {
        Box::pin(async move {
            let mut found = Vec::new();
            let mut from = None;
            for _page in 0..QUESTION_PAGES_MAX {
                let call = self.entries_of(table, question).set_exclusive_start_key(from);
                let reply = self.ask(Call::Query, table, || call.clone().send()).await?;
                found.extend(reply.items.unwrap_or_default().into_iter().filter_map(item));
                match reply.last_evaluated_key {
                    Some(last) if !last.is_empty() => from = Some(last),
                    _ => return Ok(found),
                }
            }
            // Half of a question would be taken up as if it were the whole.
            Err(AwsError {
                call: Call::Query,
                subject: question.to_owned(),
                code: "TooLong".to_owned(),
                message: format!("more than {QUESTION_PAGES_MAX} pages"),
                failure: Failure::Invalid,
            })
        })
    }

    fn newest<'a>(&'a self, table: &'a str, question: &'a str, most: u32) -> Reply<'a, Vec<Item>> {
        Box::pin(async move {
            let call = self
                .entries_of(table, question)
                .scan_index_forward(false)
                .limit(i32::try_from(most).unwrap_or(i32::MAX));
            let reply = self.ask(Call::Query, table, || call.clone().send()).await?;
            Ok(reply.items.unwrap_or_default().into_iter().filter_map(item).collect())
        })
    }

    fn indexed<'a>(&'a self, table: &'a str, asked: &'a Indexed) -> Reply<'a, Vec<Item>> {
        Box::pin(async move {
            let most = usize::try_from(asked.most).unwrap_or(usize::MAX);
            let mut found: Vec<Item> = Vec::new();
            let mut from = None;
            loop {
                let call = self
                    .dynamodb
                    .query()
                    .table_name(table)
                    .index_name(asked.index)
                    .key_condition_expression("#n0 = :v0")
                    .expression_attribute_names("#n0", asked.index)
                    .expression_attribute_values(":v0", AttributeValue::S(asked.of.to_owned()))
                    .scan_index_forward(!asked.newest_first)
                    .limit(i32::try_from(most - found.len()).unwrap_or(i32::MAX))
                    .set_exclusive_start_key(from);
                let reply = self.ask(Call::Query, table, || call.clone().send()).await?;
                found.extend(reply.items.unwrap_or_default().into_iter().filter_map(item));
                match reply.last_evaluated_key {
                    Some(last) if !last.is_empty() && found.len() < most => from = Some(last),
                    _ => break,
                }
            }
            Ok(found)
        })
    }
}
