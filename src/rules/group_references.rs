//! The groups that rules refer to.

use super::attributes::GROUPS;
use super::condition::{AttributeCondition, Condition, PlainCondition};
use super::decide::Rules;
use super::matching::Test;
use crate::groups::GroupReferences;

impl Rules {
    /// Adds the groups that the conditions of these rules and of their segments refer to.
    pub fn add_group_references(&self, references: &mut GroupReferences) {
        if !self.attributes().iter().any(|name| **name == *GROUPS) {
            return;
        }
        for condition in self.parsed.rules.iter().flat_map(|rule| &rule.conditions) {
            if let Condition::Plain(PlainCondition::Attribute(condition)) = condition {
                add(condition, references);
            }
        }
        for condition in self.segments.iter().flatten().flat_map(|segment| &segment.conditions) {
            if let PlainCondition::Attribute(condition) = condition {
                add(condition, references);
            }
        }
    }
}

fn add(condition: &AttributeCondition, references: &mut GroupReferences) {
    match &condition.test {
        _ if *condition.attribute != *GROUPS => {}
        // The list of groups is there for every subject.
        Test::IsNull(_) => {}
        // Without a value that a text can equal, it counts whether the subject has any group.
        Test::In(members) if members.can_equal_text() => references.add(members.all_texts()),
        _ => *references = GroupReferences::All,
    }
}
