//! The actions about queues as such: create, find, list, look at, change, tag.

use std::borrow::Cow;

use super::engine::ACCOUNT;
use super::error::SqsError;
use super::service::{Answer, Context, Service, json, parse, queue_name, required};
use super::wire::{
    AttributesAnswer, CreateQueue, GetQueueAttributes, ListQueues, QueueRequest, QueueUrlAnswer,
    SetQueueAttributes, TagQueue, TagsAnswer,
};

/// Most names in one answer of a listing.
const MAX_RESULTS: i64 = 1000;

impl Service {
    pub(super) fn create_queue(&self, cx: &Context<'_>) -> Answer {
        let request: CreateQueue = parse(cx.body)?;
        let name = required(request.queue_name, "QueueName")?;
        let attributes = request.attributes.unwrap_or_default();
        let tags = request.tags.unwrap_or_default();
        self.with_engine(|engine| engine.create_queue(&name, &attributes, tags, cx.now_ms))?;
        Ok(json(&QueueUrlAnswer {
            queue_url: url(cx, &name),
        }))
    }

    pub(super) fn queue_url(&self, cx: &Context<'_>) -> Answer {
        let request: QueueRequest<'_> = parse(cx.body)?;
        let name = required(request.queue_name, "QueueName")?;
        self.with_engine(|engine| engine.queue(&name).map(|_| ()))
            .ok_or_else(SqsError::no_such_queue)?;
        Ok(json(&QueueUrlAnswer {
            queue_url: url(cx, &name),
        }))
    }

    pub(super) fn get_attributes(&self, cx: &Context<'_>) -> Answer {
        let request: GetQueueAttributes<'_> = parse(cx.body)?;
        let name = queue_name(request.queue_url.as_ref())?;
        let wanted = request.attribute_names.unwrap_or_default();
        let attributes = self.with_engine(|engine| engine.attributes(name, &wanted, cx.now_ms))?;
        Ok(json(&AttributesAnswer { attributes }))
    }

    pub(super) fn set_attributes(&self, cx: &Context<'_>) -> Answer {
        let request: SetQueueAttributes<'_> = parse(cx.body)?;
        let name = queue_name(request.queue_url.as_ref())?;
        let attributes = required(request.attributes, "Attributes")?;
        self.with_engine(|engine| engine.set_attributes(name, &attributes, cx.now_ms))?;
        Ok(Vec::new())
    }

    pub(super) fn list_queues(&self, cx: &Context<'_>) -> Answer {
        let request: ListQueues = parse(cx.body)?;
        let prefix = request.queue_name_prefix.clone().unwrap_or_default();
        let names = self.with_engine(|engine| {
            engine
                .names()
                .filter(|name| name.starts_with(&prefix))
                .map(str::to_owned)
                .collect()
        });
        list(cx, names, &request, "QueueUrls")
    }

    pub(super) fn list_dead_letter_sources(&self, cx: &Context<'_>) -> Answer {
        let request: ListQueues = parse(cx.body)?;
        let queue_url = request.queue_url.as_deref().map(Cow::Borrowed);
        let name = queue_name(queue_url.as_ref())?;
        let names = self.with_engine(|engine| {
            engine
                .dead_letter_sources(name)
                .map(|names| names.into_iter().map(str::to_owned).collect())
        })?;
        list(cx, names, &request, "queueUrls")
    }

    pub(super) fn tags(&self, action: &str, cx: &Context<'_>) -> Answer {
        let request: TagQueue<'_> = parse(cx.body)?;
        let name = queue_name(request.queue_url.as_ref())?;
        self.with_engine(|engine| {
            let tags = engine.tags(name)?;
            match action {
                "TagQueue" => tags.extend(required(request.tags, "Tags")?),
                "UntagQueue" => {
                    let keys = required(request.tag_keys, "TagKeys")?;
                    tags.retain(|key, _| !keys.contains(key));
                }
                _ => return Ok(json(&TagsAnswer { tags: tags.clone() })),
            }
            Ok(Vec::new())
        })
    }
}

fn url(cx: &Context<'_>, name: &str) -> String {
    format!("http://{}/{ACCOUNT}/{name}", cx.host)
}

/// One page of a listing of queues.
fn list(cx: &Context<'_>, names: Vec<String>, request: &ListQueues, member: &str) -> Answer {
    let max = request.max_results.unwrap_or(MAX_RESULTS);
    if !(1..=MAX_RESULTS).contains(&max) {
        return Err(SqsError::invalid_value(
            max,
            "MaxResults",
            "Must be an integer from 1 to 1000.",
        ));
    }
    let max = usize::try_from(max).unwrap_or(1);
    let after = request.next_token.as_deref().unwrap_or_default();
    let mut rest = names.into_iter().filter(|name| name.as_str() > after);
    let page: Vec<_> = rest.by_ref().take(max).collect();
    // AWS pages only when a size was asked for; the token is the last name shown.
    let next = (request.max_results.is_some() && rest.next().is_some())
        .then(|| page.last().cloned())
        .flatten();
    let mut answer = serde_json::Map::new();
    if !page.is_empty() || member == "queueUrls" {
        let urls: Vec<_> = page.iter().map(|name| url(cx, name)).collect();
        answer.insert(member.into(), urls.into());
    }
    if let Some(next) = next {
        answer.insert("NextToken".into(), next.into());
    }
    Ok(json(&answer))
}
