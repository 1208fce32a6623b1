//! An MPD's elements as a tree: what the rules ask for, bounded in depth and number, everything else skipped.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

use super::super::text::is_xml_character;

/// Deepest nesting that is read. `S` is the sixth; the deepest of the schema is about ten.
const DEPTH_MAX: usize = 32;
/// Most elements that are kept: a day of two-second segments in two sets, each an `S` of its own, is 86,400.
const ELEMENTS_MAX: usize = 400_000;
/// Longest value of an attribute and longest text of an element that is kept, in bytes: twice the longest URL here.
pub(super) const VALUE_BYTES_MAX: usize = 4_096;

/// Elements the rules ask for.
const ELEMENTS: &[&str] = &[
    "AdaptationSet",
    "BaseURL",
    "Location",
    "MPD",
    "Period",
    "Representation",
    "S",
    "SegmentBase",
    "SegmentList",
    "SegmentTemplate",
    "SegmentTimeline",
    "SupplementalProperty",
    "UTCTiming",
];

/// Attributes the rules ask for.
const ATTRIBUTES: &[&str] = &[
    "audioSamplingRate",
    "availabilityStartTime",
    "availabilityTimeOffset",
    "bandwidth",
    "codecs",
    "contentType",
    "d",
    "duration",
    "frameRate",
    "height",
    "id",
    "initialization",
    "lang",
    "maxSegmentDuration",
    "media",
    "mediaPresentationDuration",
    "mimeType",
    "minBufferTime",
    "minimumUpdatePeriod",
    "presentationTimeOffset",
    "profiles",
    "publishTime",
    "r",
    "schemeIdUri",
    "start",
    "startNumber",
    "suggestedPresentationDelay",
    "t",
    "timeShiftBufferDepth",
    "timescale",
    "type",
    "value",
    "width",
];

/// An element of [`ELEMENTS`].
#[derive(Debug, Default)]
pub(super) struct Element {
    /// Its local name.
    pub(super) name: &'static str,
    /// Those of [`ATTRIBUTES`], unescaped.
    attributes: Vec<(&'static str, String)>,
    /// The elements in it.
    pub(super) children: Vec<Element>,
    /// The text in it, without what is around it of white space.
    pub(super) text: String,
}

impl Element {
    /// The value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The elements in it of one name.
    pub(super) fn all<'e>(&'e self, name: &'static str) -> impl Iterator<Item = &'e Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first element in it of one name.
    pub(super) fn first(&self, name: &'static str) -> Option<&Element> {
        self.all(name).next()
    }
}

/// Where an element goes when it ends.
enum Open {
    /// To the one around it.
    Known(Element),
    /// Nowhere: neither it nor what is in it is asked for.
    Skipped,
}

/// The root element.
///
/// # Errors
/// What is not well-formed, not an MPD, or beyond the limits, as a sentence that may repeat the text.
pub(super) fn read(text: &str) -> Result<Element, String> {
    if let Some((offset, character)) = text.char_indices().find(|(_, c)| !is_xml_character(*c)) {
        return Err(format!("the character {character:?} at byte {offset} is none of XML's"));
    }
    let mut tree = Tree::default();
    let mut reader = Reader::from_str(text);
    loop {
        let position = reader.buffer_position();
        let event = reader.read_event().map_err(|error| format!("byte {position}: {error}"))?;
        if matches!(event, Event::Eof) {
            break;
        }
        tree.take(&event).map_err(|error| format!("byte {position}: {error}"))?;
    }
    match tree.root {
        Some(root) if tree.open.is_empty() => Ok(root),
        _ => Err("the document ends inside of an element, or has none".to_owned()),
    }
}

#[derive(Default)]
struct Tree {
    root: Option<Element>,
    /// The prefix of the root element: elements with another one are not of the MPD's namespace.
    prefix: Option<String>,
    open: Vec<Open>,
    elements: usize,
}

impl Tree {
    fn take(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(start) => self.open(start),
            Event::Empty(start) => {
                self.open(start)?;
                self.close();
                Ok(())
            }
            Event::End(_) => {
                self.close();
                Ok(())
            }
            Event::Text(text) => self.text(&text.xml10_content()),
            Event::CData(text) => self.text(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                let name = reference.xml10_content();
                match (character, resolve_predefined_entity(&name)) {
                    (Some(character), _) => self.text(character.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => self.text(text),
                    (None, None) => Err(format!("the entity &{name}; is not defined")),
                }
            }
            // Entities of its own could make a small document a large one; no MPD needs any.
            Event::DocType(_) => Err("a document type declaration is not read".to_owned()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Eof => Ok(()),
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("elements nest deeper than {DEPTH_MAX}"));
        }
        let name = start.name();
        let (local, prefix) = match name.as_ref().split_once(':') {
            Some((prefix, local)) => (local, Some(prefix)),
            None => (name.as_ref(), None),
        };
        let is_root = self.open.is_empty();
        if is_root && self.root.is_some() {
            return Err("a second root element".to_owned());
        }
        if is_root {
            self.prefix = prefix.map(str::to_owned);
            check_root(local, prefix, start)?;
        }
        // Read for every element: the attributes of a skipped one must be well-formed too.
        let attributes = attributes(start)?;
        let skipped_around = matches!(self.open.last(), Some(Open::Skipped));
        let known = ELEMENTS.iter().find(|known| **known == local);
        match known {
            Some(known) if !skipped_around && prefix == self.prefix.as_deref() => {
                self.elements = self.elements.saturating_add(1);
                if self.elements > ELEMENTS_MAX {
                    return Err(format!("more than {ELEMENTS_MAX} elements"));
                }
                self.open.push(Open::Known(Element { name: known, attributes, ..Element::default() }));
            }
            _ => self.open.push(Open::Skipped),
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some(Open::Known(mut element)) = self.open.pop() else { return };
        element.text = element.text.trim().to_owned();
        match self.open.last_mut() {
            Some(Open::Known(around)) => around.children.push(element),
            Some(Open::Skipped) => {}
            None => self.root = Some(element),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        match self.open.last_mut() {
            Some(Open::Known(element)) => {
                // White space between elements is the most of it.
                if !text.trim().is_empty() && element.text.len().saturating_add(text.len()) > VALUE_BYTES_MAX
                {
                    return Err(format!("a text is longer than {VALUE_BYTES_MAX} bytes"));
                }
                if !text.trim().is_empty() {
                    element.text.push_str(text);
                }
                Ok(())
            }
            Some(Open::Skipped) => Ok(()),
            // A byte order mark is allowed in front (XML 1.0 4.3.3).
            None if text.trim_matches('\u{feff}').trim().is_empty() => Ok(()),
            None => Err("text outside of the root element".to_owned()),
        }
    }
}

/// The namespace of every MPD edition (DASH annex B).
const NAMESPACE: &str = "urn:mpeg:dash:schema:mpd:2011";

fn check_root(local: &str, prefix: Option<&str>, start: &BytesStart<'_>) -> Result<(), String> {
    if local != "MPD" {
        return Err(format!("the root element is {local} and not MPD"));
    }
    let wanted = prefix.map_or_else(|| "xmlns".to_owned(), |prefix| format!("xmlns:{prefix}"));
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        if attribute.key.as_ref() == wanted && attribute.value == NAMESPACE {
            return Ok(());
        }
    }
    Err(format!("the root element is not of the namespace {NAMESPACE}"))
}

/// Those of [`ATTRIBUTES`]. All are looked at: one without a value, or twice there, is a fault anywhere.
fn attributes(start: &BytesStart<'_>) -> Result<Vec<(&'static str, String)>, String> {
    let mut kept = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
        if attribute.value.contains('<') {
            return Err(format!("a < in the value of {}", attribute.key.as_ref()));
        }
        if let Some(name) = ATTRIBUTES.iter().find(|known| **known == attribute.key.as_ref()) {
            if value.len() > VALUE_BYTES_MAX {
                return Err(format!("the value of {name} is longer than {VALUE_BYTES_MAX} bytes"));
            }
            kept.push((*name, value.into_owned()));
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"";

    #[test]
    fn what_is_read() {
        let text = format!(
            "\u{feff}<?xml version=\"1.0\"?><!-- c -->\n{ROOT} type='dynamic' x=\"y\"> <Period id=\"a&amp;&#x62;\">\n\
             <BaseURL> x/?a=1&amp;b<![CDATA[<c>]]> </BaseURL><Foreign><Period/></Foreign><q:Period xmlns:q='q'/></Period>\n\
             </MPD>\n<!-- c -->"
        );
        let root = read(&text).unwrap();
        assert_eq!(root.attribute("type"), Some("dynamic"));
        assert_eq!(root.attribute("x"), None);
        let period = root.first("Period").unwrap();
        assert_eq!(period.attribute("id"), Some("a&b"));
        assert_eq!(period.first("BaseURL").unwrap().text, "x/?a=1&b<c>");
        assert_eq!(period.all("Period").count(), 0);
        assert_eq!(root.all("Period").count(), 1);
    }

    #[test]
    fn a_prefix_is_a_name_too() {
        let text = "<d:MPD xmlns:d=\"urn:mpeg:dash:schema:mpd:2011\"><d:Period/><Period/></d:MPD>";
        assert_eq!(read(text).unwrap().all("Period").count(), 1);
    }

    #[test]
    fn what_is_refused() {
        let deep = format!("{ROOT}>{}", "<a>".repeat(40));
        let long = format!("{ROOT} id=\"{}\"/>", "x".repeat(VALUE_BYTES_MAX + 1));
        let long_text = format!("{ROOT}>{}</MPD>", "x".repeat(VALUE_BYTES_MAX + 1));
        let many = format!("{ROOT}>{}</MPD>", "<S/>".repeat(ELEMENTS_MAX));
        let bomb = "<!DOCTYPE MPD [<!ENTITY a \"aaaa\">]><MPD/>";
        for (name, text, words) in [
            ("nothing", "", "has none"),
            ("no element", "<?xml version=\"1.0\"?>", "has none"),
            ("not XML", "#EXTM3U\n", "outside of the root"),
            ("another root", "<html/>", "the root element is html"),
            ("no namespace", "<MPD/>", "not of the namespace"),
            ("another namespace", "<MPD xmlns=\"urn:x\"/>", "not of the namespace"),
            ("cut off", &format!("{ROOT}><Period>")[..], "ends inside"),
            ("ends crossed", &format!("{ROOT}><Period></MPD></Period>"), "byte"),
            ("two roots", &format!("{ROOT}/>{ROOT}/>"), "second root"),
            ("an attribute twice", &format!("{ROOT} id=\"1\" id=\"2\"/>"), "byte"),
            ("no quotes", &format!("{ROOT} id=1/>"), "byte"),
            ("an unknown entity", &format!("{ROOT}>&nbsp;</MPD>"), "&nbsp; is not defined"),
            ("an unknown entity in a value", &format!("{ROOT} id=\"&nbsp;\"/>"), "byte"),
            ("a < in a value", &format!("{ROOT} id=\"a<b\"/>"), "a < in"),
            ("a document type", bomb, "document type"),
            ("NUL", &format!("{ROOT}/>\0"), "none of XML's"),
            ("too deep", &deep, "deeper than 32"),
            ("a long value", &long, "longer than 4096"),
            ("a long text", &long_text, "longer than 4096"),
            ("too many", &many, "more than 400000"),
        ] {
            let error = read(text).expect_err(name);
            assert!(error.contains(words), "{name}: {error}");
        }
    }
}
