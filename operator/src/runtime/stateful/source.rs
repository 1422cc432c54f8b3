//! Where an integration takes its work from, of which a broker could tell how much waits. Pure.

use std::fmt;

/// Longest name of a topic, queue or group.
const LONGEST: usize = 249;

/// A place in which work waits, as far as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A topic of Kafka, and the group that reads it.
    Kafka {
        /// Its name.
        topic: String,
        /// Where it is said.
        group: Option<String>,
    },
    /// A queue of RabbitMQ.
    Rabbitmq(String),
    /// A queue of JMS or AMQP: of ActiveMQ Classic or Artemis, mostly.
    Jms(String),
}

impl Source {
    /// Nothing where a name is none that a trigger takes, such as one that is set elsewhere.
    pub(super) fn kafka(topic: &str, group: Option<&str>) -> Option<Self> {
        let group = group.filter(|group| is_plain(group)).map(ToOwned::to_owned);
        is_plain(topic).then(|| Self::Kafka { topic: topic.to_owned(), group })
    }

    pub(super) fn rabbitmq(queue: &str) -> Option<Self> {
        is_plain(queue).then(|| Self::Rabbitmq(queue.to_owned()))
    }

    pub(super) fn jms(queue: &str) -> Option<Self> {
        is_plain(queue).then(|| Self::Jms(queue.to_owned()))
    }

    /// What a descriptor would say so that the number of instances follows what waits there.
    pub fn trigger(&self) -> String {
        match self {
            Self::Kafka { topic, group } => {
                let group = group.as_deref().unwrap_or("…");
                format!("{{broker: …, kafka: {{topic: {topic}, group: {group}, lag: 50}}}}")
            }
            Self::Rabbitmq(queue) => format!("{{broker: …, rabbitmq: {{queue: {queue}, messages: 20}}}}"),
            // Neither Artemis nor ActiveMQ is asked without a login.
            Self::Jms(queue) => {
                format!("{{broker: …, artemis: {{queue: {queue}, messages: 20}}, secret: …}}")
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kafka { topic, group: _ } => write!(f, "the topic {topic} of Kafka"),
            Self::Rabbitmq(queue) => write!(f, "the queue {queue} of RabbitMQ"),
            Self::Jms(queue) => write!(f, "the queue {queue}"),
        }
    }
}

fn is_plain(name: &str) -> bool {
    let is_of_name = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    name.len() <= LONGEST
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().all(is_of_name)
}
