//! Messages for people: English and values, which Python shows in the language of the reader.

use std::fmt;

/// The English of a message, with `{name}` for each value. It is the key in the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    /// The text.
    pub english: &'static str,
}

/// A template with its values. Displayed in English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The template.
    pub template: &'static Template,
    /// The values by their names in the template.
    pub values: Box<[(&'static str, Value)]>,
}

/// A value of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A name, or a number that is no count.
    Text(Box<str>),
    /// A count, which has thousand separators.
    Count(usize),
    /// A part of a sentence.
    Part(Message),
    /// Several parts, separated by commas.
    List(Vec<Message>),
}

/// Declares templates: the name and the English of each.
macro_rules! templates {
    ($($name:ident, $english:literal;)*) => {
        $(pub(crate) static $name: Template = Template::new($english);)*

        /// All of them.
        pub static TEMPLATES: &[&Template] = &[$(&$name),*];
    };
}
pub(crate) use templates;

impl Template {
    pub(crate) const fn new(english: &'static str) -> Self {
        Self { english }
    }

    pub(crate) fn with<const N: usize>(
        &'static self,
        values: [(&'static str, Value); N],
    ) -> Message {
        debug_assert_eq!(self.english.matches('{').count(), N, "values of {}", self.english);
        Message { template: self, values: values.into() }
    }
}

impl From<&'static Template> for Message {
    fn from(template: &'static Template) -> Self {
        template.with([])
    }
}

impl From<&'static Template> for Value {
    fn from(template: &'static Template) -> Self {
        Self::Part(template.into())
    }
}

impl From<Message> for Value {
    fn from(message: Message) -> Self {
        Self::Part(message)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.template.english.split('{');
        f.write_str(parts.next().unwrap_or_default())?;
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap_or((part, ""));
            for (_, value) in self.values.iter().filter(|(known, _)| *known == name) {
                value.fmt(f)?;
            }
            f.write_str(rest)?;
        }
        Ok(())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Count(count) => f.write_str(&grouped(*count)),
            Self::Part(part) => part.fmt(f),
            Self::List(parts) => {
                let texts: Vec<_> = parts.iter().map(Message::to_string).collect();
                f.write_str(&texts.join(", "))
            }
        }
    }
}

fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_text_has_the_values_and_groups_only_counts() {
        static INNER: Template = Template::new("a part");
        static OUTER: Template = Template::new("{count} of {key}: {part}!");
        static SMALL: Template = Template::new("{count} users");
        let values =
            [("count", 1_234_567.into()), ("key", "1234".into()), ("part", (&INNER).into())];
        assert_eq!(OUTER.with(values).to_string(), "1,234,567 of 1234: a part!");
        assert_eq!(SMALL.with([("count", 999.into())]).to_string(), "999 users");
    }
}
