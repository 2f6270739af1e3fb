//! What has rules: flags, experiments and values.

use std::sync::Arc;

use super::key_table::Keyed;
use crate::experiment::Experiment;
use crate::flag::Flag;
use crate::primary_key::PrimaryKey;
use crate::row::{self, RowKind};
use crate::row_rules::RowRules;
use crate::rules::RuleKind;

/// A row that may have rules.
pub(super) trait Ruled: Keyed {
    /// What it is, for problems.
    const KIND: RowKind;

    /// What its rules decide.
    const RULES: RuleKind = RuleKind::Flag;

    fn pk(&self) -> &PrimaryKey;

    /// Its rules, `None` if it has none.
    fn rules(&self) -> Option<&Arc<RowRules>>;

    /// The row, for problems.
    fn name(&self) -> row::Ruled {
        row::Ruled { kind: Self::KIND, key: self.key().into() }
    }
}

impl Ruled for Flag {
    const KIND: RowKind = RowKind::Flag;

    fn pk(&self) -> &PrimaryKey {
        &self.identity.pk
    }

    fn rules(&self) -> Option<&Arc<RowRules>> {
        self.rules()
    }
}

impl Ruled for Experiment {
    const KIND: RowKind = RowKind::Experiment;

    fn pk(&self) -> &PrimaryKey {
        &self.identity.pk
    }

    fn rules(&self) -> Option<&Arc<RowRules>> {
        self.rules.as_ref()
    }
}
