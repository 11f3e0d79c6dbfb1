//! SQS, SNS, SSM and Secrets Manager by the official SDK.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::Config;
use aws_sdk_sqs::types::MessageSystemAttributeName;

use super::super::messages::{Message, Messages, Secrets};
use super::super::{Call, Reply};
use super::{ATTEMPT_TIMEOUT, RealAws, absent};

/// Longest wait of one receive.
//= https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
const WAIT_SECONDS: i32 = 20;
/// Messages of one receive, by the same page.
const RECEIVED_MAX: i32 = 10;

/// Seconds as SQS takes them.
fn seconds(seconds: u32) -> i32 {
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

impl Messages for RealAws {
    fn receive<'a>(
        &'a self,
        queue: &'a str,
        visible_again_seconds: u32,
    ) -> Reply<'a, Vec<Message>> {
        Box::pin(async move {
            let wait =
                Duration::from_secs(u64::from(WAIT_SECONDS.unsigned_abs())) + ATTEMPT_TIMEOUT;
            let timeouts = TimeoutConfig::builder().operation_attempt_timeout(wait).build();
            let call = self
                .sqs
                .receive_message()
                .queue_url(queue)
                .wait_time_seconds(WAIT_SECONDS)
                .max_number_of_messages(RECEIVED_MAX)
                .visibility_timeout(seconds(visible_again_seconds))
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .customize()
                .config_override(Config::builder().timeout_config(timeouts));
            let reply = self.tell(Call::ReceiveMessage, queue, call.send()).await?;
            let found = reply.messages.unwrap_or_default().into_iter();
            Ok(found
                .filter_map(|message| {
                    let told = |name| message.attributes.as_ref().and_then(|all| all.get(&name));
                    let count = told(MessageSystemAttributeName::ApproximateReceiveCount);
                    let sent = told(MessageSystemAttributeName::SentTimestamp);
                    Some(Message {
                        received: count.and_then(|count| count.parse().ok()).unwrap_or(1),
                        sent_unix_millis: sent.and_then(|sent| sent.parse().ok()),
                        id: message.message_id.unwrap_or_default(),
                        receipt: message.receipt_handle?,
                        body: message.body.unwrap_or_default(),
                    })
                })
                .collect())
        })
    }

    fn hide<'a>(&'a self, queue: &'a str, receipt: &'a str, for_seconds: u32) -> Reply<'a, ()> {
        Box::pin(async move {
            let call = self
                .sqs
                .change_message_visibility()
                .queue_url(queue)
                .receipt_handle(receipt)
                .visibility_timeout(seconds(for_seconds));
            self.ask(Call::ChangeMessageVisibility, queue, || call.clone().send())
                .await
                .map(|_reply| ())
        })
    }

    fn delete<'a>(&'a self, queue: &'a str, receipt: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let call = self.sqs.delete_message().queue_url(queue).receipt_handle(receipt);
            self.ask(Call::DeleteMessage, queue, || call.clone().send()).await.map(|_reply| ())
        })
    }

    fn send<'a>(&'a self, queue: &'a str, body: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let call = self.sqs.send_message().queue_url(queue).message_body(body);
            self.ask(Call::SendMessage, queue, || call.clone().send()).await.map(|_reply| ())
        })
    }

    fn publish<'a>(&'a self, topic: &'a str, subject: &'a str, message: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let call = self.sns.publish().topic_arn(topic).subject(subject).message(message);
            self.ask(Call::Publish, topic, || call.clone().send()).await.map(|_reply| ())
        })
    }
}

impl Secrets for RealAws {
    fn parameter<'a>(&'a self, name: &'a str) -> Reply<'a, String> {
        Box::pin(async move {
            let call = self.ssm.get_parameter().name(name).with_decryption(true);
            let reply = self.ask(Call::GetParameter, name, || call.clone().send()).await?;
            let value = reply.parameter.and_then(|parameter| parameter.value);
            value.ok_or_else(|| absent(Call::GetParameter, name, "Parameter.Value"))
        })
    }

    fn secret<'a>(&'a self, id: &'a str) -> Reply<'a, String> {
        Box::pin(async move {
            let call = self.secrets.get_secret_value().secret_id(id);
            let reply = self.ask(Call::GetSecretValue, id, || call.clone().send()).await?;
            reply.secret_string.ok_or_else(|| absent(Call::GetSecretValue, id, "SecretString"))
        })
    }
}
