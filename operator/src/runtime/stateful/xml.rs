//! Artifacts of Synapse (WSO2 Micro Integrator) and routes of Camel in an XML file. Pure. Events of the file in its order: no
//! DTD, no entity but the five of XML, no tree; depth and namespaces are bounded.
//!
//! Synapse by <https://mi.docs.wso2.com>: scheduled tasks, message processors, and inbound endpoints that do not listen run
//! in every node that does not share a coordination database.

use std::borrow::Cow;

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{Found, Risk, Source, camel, named};

const SYNAPSE: &str = "http://ws.apache.org/ns/synapse";
/// `/spring`, `/blueprint`, `/xml-io`.
const CAMEL: &str = "http://camel.apache.org/schema/";
/// Deepest nesting.
const DEPTH: usize = 256;
/// Most namespaces that are in force at a place.
const NAMESPACES: usize = 64;
/// Parameters of one inbound endpoint that are read.
const PARAMETERS: usize = 50;
/// Inbound endpoints by `protocol` that wait for requests on a port: each instance answers its own.
const LISTENING: [&str; 8] = ["http", "https", "hl7", "cxf_ws_rm", "ws", "wss", "tcp", "grpc"];
/// Transports by which a proxy service fetches what it works on.
const POLLING: [&str; 2] = ["vfs", "mailto"];

/// Whose element it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    None,
    Synapse,
    Camel,
    Other,
}

/// An inbound endpoint until its end.
struct Inbound {
    depth: usize,
    line: u32,
    name: Option<String>,
    protocol: Option<String>,
    /// Name and value.
    parameters: Vec<(String, String)>,
    /// The text is the value of the last of them.
    is_said: bool,
}

impl Inbound {
    fn parameter(&self, name: &str) -> Option<&str> {
        let said = self.parameters.iter().find(|(said, _)| said == name);
        said.map(|(_, value)| value.as_str())
    }

    /// Where its work waits, by the parameters of Micro Integrator's Kafka, RabbitMQ and JMS.
    fn source(&self) -> Option<Source> {
        let topic = self.parameter("topic.name").or_else(|| self.parameter("topics"));
        let is_topic = self.parameter("transport.jms.DestinationType").is_some_and(|type_| type_ == "topic");
        match (topic, self.parameter("rabbitmq.queue.name"), self.parameter("transport.jms.Destination")) {
            (Some(topic), _, _) => Source::kafka(topic, self.parameter("group.id")),
            (None, Some(queue), _) => Source::rabbitmq(queue),
            (None, None, Some(queue)) if !is_topic => Source::jms(queue),
            (None, None, Some(_) | None) => None,
        }
    }
}

#[derive(Default)]
struct Reading {
    found: Found,
    /// Of each open element, how many namespaces were in force before it.
    open: Vec<usize>,
    spaces: Vec<(String, Space)>,
    inbound: Option<Inbound>,
}

/// The artifacts in `text`; nothing of a file that is of neither.
pub(super) fn find(text: &str) -> Found {
    let may_be_camel = text.contains("from") && text.contains("uri");
    if !text.contains(SYNAPSE) && !may_be_camel {
        return Found::default();
    }
    let mut reading = Reading::default();
    if let Err((line, why)) = read(text, &mut reading) {
        reading.found.not_known(line, format!("the XML cannot be read further: {why}"));
    }
    reading.found
}

fn read(text: &str, reading: &mut Reading) -> Result<(), (u32, String)> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    let (mut line, mut counted) = (1, 0);
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let passed = text.get(counted..at).unwrap_or_default().matches('\n').count();
        line += u32::try_from(passed).unwrap_or_default();
        counted = at;
        let event = reader.read_event().map_err(|error| (line, error.to_string()))?;
        match event {
            Event::Start(element) => reading.begin(&element, line).map_err(|why| (line, why))?,
            Event::End(_) => reading.end(),
            Event::Text(text) => reading.text(&text.xml10_content()),
            Event::CData(text) => reading.text(&text.xml10_content()),
            Event::DocType(_) => return Err((line, "it has a DOCTYPE, which is not followed".to_owned())),
            Event::Eof => return Ok(()),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::GeneralRef(_) => {}
        }
    }
}

impl Reading {
    fn begin(&mut self, element: &BytesStart<'_>, line: u32) -> Result<(), String> {
        if self.open.len() >= DEPTH {
            return Err(format!("it is nested deeper than {DEPTH} elements"));
        }
        self.open.push(self.spaces.len());
        self.declare(element)?;
        let qualified = element.name();
        let (prefix, name) = qualified.0.split_once(':').unwrap_or(("", qualified.0));
        match (self.space(prefix), name) {
            (Space::Synapse, "task") => {
                self.found.add(line, of("scheduled task", element), Risk::Clock);
            }
            (Space::Synapse, "messageProcessor") => {
                self.found.add(line, of("message processor", element), Risk::Forwards);
            }
            (Space::Synapse, "proxy") => self.proxy(element, line),
            (Space::Synapse, "inboundEndpoint") => {
                self.inbound = Some(Inbound {
                    depth: self.open.len(),
                    line,
                    name: value(element, "name"),
                    protocol: value(element, "protocol"),
                    parameters: Vec::new(),
                    is_said: false,
                });
            }
            (Space::Synapse, "parameter") => {
                let room = self.inbound.as_mut().filter(|inbound| inbound.parameters.len() < PARAMETERS);
                if let (Some(inbound), Some(name)) = (room, value(element, "name")) {
                    inbound.parameters.push((name, String::new()));
                    inbound.is_said = true;
                }
            }
            (Space::Camel | Space::None, "from") => {
                if let Some(uri) = value(element, "uri") {
                    camel::add(&mut self.found, line, &uri);
                }
            }
            (Space::None | Space::Synapse | Space::Camel | Space::Other, _) => {}
        }
        Ok(())
    }

    /// The namespaces that hold from this element on.
    fn declare(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        for attribute in element.attributes().with_checks(false).flatten() {
            let Some(rest) = attribute.key.0.strip_prefix("xmlns") else { continue };
            let Some(prefix) = rest.strip_prefix(':').or(rest.is_empty().then_some("")) else { continue };
            if self.spaces.len() >= NAMESPACES {
                return Err(format!("it declares more than {NAMESPACES} namespaces"));
            }
            let space = match attribute.value.as_ref() {
                "" => Space::None,
                SYNAPSE => Space::Synapse,
                uri if uri.starts_with(CAMEL) => Space::Camel,
                _ => Space::Other,
            };
            self.spaces.push((prefix.to_owned(), space));
        }
        Ok(())
    }

    fn space(&self, prefix: &str) -> Space {
        let unknown = if prefix.is_empty() { Space::None } else { Space::Other };
        let declared = self.spaces.iter().rev().find(|(declared, _)| declared == prefix);
        declared.map_or(unknown, |(_, space)| *space)
    }

    fn proxy(&mut self, element: &BytesStart<'_>, line: u32) {
        let transports = value(element, "transports").unwrap_or_default();
        let polled = transports.split([' ', ',']).find(|transport| POLLING.contains(transport));
        if let Some(polled) = polled {
            let artifact = of("proxy service", element) + &format!(" by {polled}");
            self.found.add(line, artifact, Risk::Takes);
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(inbound) = self.inbound.as_mut().filter(|inbound| inbound.is_said) {
            inbound
                .parameters
                .iter_mut()
                .last()
                .iter_mut()
                .for_each(|(_, value)| value.push_str(text.trim()));
        }
    }

    fn end(&mut self) {
        let depth = self.open.len();
        if let Some(inbound) = &mut self.inbound {
            inbound.is_said = false;
        }
        if let Some(inbound) = self.inbound.take_if(|inbound| inbound.depth == depth) {
            self.inbound_ended(&inbound);
        }
        if let Some(before) = self.open.pop() {
            self.spaces.truncate(before);
        }
    }

    /// One that listens is safe as many; of a class of one's own it says so itself, and polls where it does not.
    fn inbound_ended(&mut self, inbound: &Inbound) {
        self.found.takes(inbound.line, inbound.source());
        let behaviour = inbound.parameter("inbound.behavior").unwrap_or_default().to_lowercase();
        let (is_listening, how) = match &inbound.protocol {
            Some(protocol) => (LISTENING.contains(&protocol.as_str()), format!(" by {protocol}")),
            None => (behaviour.contains("listening"), String::new()),
        };
        if !is_listening {
            let artifact = named("inbound endpoint", inbound.name.as_deref()) + &how;
            self.found.add(inbound.line, artifact, Risk::Takes);
        }
    }
}

fn of(kind: &str, element: &BytesStart<'_>) -> String {
    named(kind, value(element, "name").as_deref())
}

fn value(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = element.attributes();
    let found = attributes.with_checks(false).flatten().find(|attribute| attribute.key.0 == name)?;
    let value = found.normalized_value(XmlVersion::Implicit1_0);
    Some(value.map_or_else(|_| found.value.to_string(), Cow::into_owned))
}
