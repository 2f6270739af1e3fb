//! The steps of an evaluation: the conditions that it checks in order, and what came of each.
//!
//! They follow from the result of the same code that evaluates.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::assign::Assignment;
use crate::bucketing_unit::{OfRow, USER, VISITOR};
use crate::evaluate::{Evaluation, Reason, evaluate};
use crate::experiment::{Experiment, ExperimentState};
use crate::flag::Flag;
use crate::message::{Message, Template, templates};
use crate::overrides::FlagOverride;
use crate::prerequisites::{Prerequisite, Prerequisites};
use crate::row_rules::RowRules;
use crate::rules::{About, Attributes, ExplainedCondition, Outcome, Rules, SegmentConditions};
use crate::subject::Subject;
use crate::targeting::Targeting;

templates! {
    OVERRIDDEN, "overridden by a test";
    FORCED_OFF, "forced off in this process by {variable}";
    FORCED_ON, "forced on in this process by {variable}";
    NOT_LOADED, "nothing has been loaded from the database";
    UNREADABLE, "the database failed while the user or an attribute was read";
    // Flags.
    NO_FLAG, "there is no flag with this key, or its row is invalid";
    FLAG, "the flag exists";
    DECLARED, "the flag is declared in code, and has no row";
    ENABLED, "the flag is enabled";
    DISABLED, "the flag is disabled for all users";
    ALLOWED, "the user is an allowed user";
    NOT_ALLOWED, "the user is not an allowed user";
    ROLLOUT, "the rollout is {percent} %";
    LIMITED, "a flag that a rule needs is off, so at most {percent} % have this one";
    KNOWN_USER, "the user is {user}";
    KNOWN_UNIT, "the bucket of this {unit} is {bucket}";
    HAS_UNIT, "there is a {unit}";
    NO_USER, "there is no user";
    NO_VISITOR, "there is no visitor in the context";
    NO_UNIT, "{unit} is missing";
    BELOW, "in the first {percent} % (bucket {bucket})";
    NOT_BELOW, "not in the first {percent} % (bucket {bucket})";
    UNIT_BELOW, "in the first {percent} % by {unit} (bucket {bucket})";
    UNIT_NOT_BELOW, "not in the first {percent} % by {unit} (bucket {bucket})";
    // Rules.
    FLAG_RULES,
        "cannot be read, so the result is the default of the call: {problem}";
    VALUE_RULES, "cannot be read, so they decide nothing: {problem}";
    NO_MATCH, "does not match";
    MATCH, "matches";
    MATCH_BY_BUCKET, "matches; {comparison}";
    FLAG_OFF, "matches, so the flag is off";
    FLAG_OFF_WITHOUT, "matches, but {problem}, so the flag is off";
    OWN_VALUE, "matches, so the value itself is the result";
    OWN_VALUE_WITHOUT,
        "matches, but {problem}, so the value itself is the result";
    NO_VARIANT, "matches, so the unit takes no part";
    MISSING, "missing";
    NEEDS_USER, "needs the user object";
    TYPE_MISMATCH, "cannot be compared with the values";
    NO_SEGMENT, "there is no such segment";
    NO_SUCH_FLAG, "there is no such flag";
    LACKS_FLAG, "it is false, because it cannot be read or a flag that it needs is off";
    ENDLESS_FLAG, "its own conditions form a circle, or go more than four flags deep";
    // Values.
    NO_VALUE, "there is no value with this key, or its row is invalid";
    VALUE, "the value exists";
    WITHOUT_RULES, "the value has no rules";
    NO_RULE_MATCHES, "no rule matches";
    NO_RULE_DECIDES, "no rule decides";
    // Experiments.
    NO_EXPERIMENT, "there is no experiment with this key";
    EXPERIMENT, "the experiment exists";
    STARTED, "the experiment is running or was shipped";
    NOT_STARTED, "the experiment is not running";
    WINNER, "everyone gets the winner";
    NO_WINNER, "no winner was shipped";
    FORCED, "the unit has an override";
    NOT_FORCED, "the unit has no override";
    CRAWLER, "the request is one of a crawler";
    LIMIT, "too many new visitors came in one hour";
    COUNTED, "the unit is not excluded";
    BUCKET, "the bucket of the unit is {bucket}";
}

/// One condition that an evaluation checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name: `enabled`, `rule 1`, `condition 1`, and so on.
    pub name: String,
    /// Whether it is met, `None` if the evaluation ended before.
    pub met: Option<bool>,
    /// Whether the result was decided here.
    pub decides: bool,
    /// Why, `None` if the evaluation ended before, and for a condition that was compared.
    pub text: Option<Message>,
    /// What it is about.
    pub topic: Topic,
    /// The bucketing unit that the context should have.
    pub missing: Option<Box<str>>,
    /// 1 for a condition of a rule, 2 for a condition of a segment that the rule names, else 0.
    pub level: u8,
    /// The flag whose evaluation it belongs to, if a condition needs it: the level is then higher by
    /// the level of this condition, and one.
    pub flag: Option<Box<str>>,
}

/// What a step is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// What all evaluations of its kind check.
    General,
    /// A rule.
    Rule {
        /// Its name.
        name: Option<Box<str>>,
        /// Its percentage.
        rollout_percent: u8,
    },
    /// A condition of a rule or a segment.
    Condition {
        /// Its JSON text.
        json: Box<str>,
        /// What came of it.
        outcome: Outcome,
    },
}

/// The only step of an evaluation that an override decides, by its name: that of a variable, or a
/// test.
#[must_use]
pub fn of_override(name: &str) -> Vec<Step> {
    let forced = [(FlagOverride::ForcedOff, &FORCED_OFF), (FlagOverride::ForcedOn, &FORCED_ON)];
    let text = match forced.into_iter().find(|(found, _)| found.name() == name) {
        Some((_, template)) => template.with([("variable", name.into())]),
        None => (&OVERRIDDEN).into(),
    };
    let mut steps = Steps::default();
    steps.add("override", true, true, text);
    steps.steps
}

/// The steps of a flag after the first one.
pub const OF_FLAG: &[&str] = &["enabled", "allowed", "100 %", USER, "bucket < rollout"];
/// The same of a value.
pub const OF_VALUE: &[&str] = &[OWN];
/// The same of an experiment.
pub const OF_VARIANT: &[&str] = &["running", "winner", "forced", "counted", "bucket"];

/// The steps without a result: there is nothing to evaluate, and the `later` ones are not reached.
#[must_use]
pub fn without(why: &'static Template, later: &[&str]) -> Vec<Step> {
    let mut steps = Steps::default();
    steps.add("exists", false, true, why);
    for name in later {
        steps.add(*name, false, false, why);
    }
    steps.steps
}

/// The steps of the evaluation of a flag. `bucket` is that of its unit.
#[must_use]
pub fn of_flag(
    flag: &Flag,
    evaluation: Evaluation,
    bucket: Option<u8>,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
    flags: Prerequisites<'_>,
) -> Vec<Step> {
    let Evaluation { value, reason, rule, .. } = evaluation;
    let unit = Unit { name: flag.bucket_by().unwrap_or(USER), bucket: bucket.map(Into::into) };
    let user = subject.text(str::to_owned);
    let decides = |expected| reason == expected && rule.is_none();
    let (is_allowed, for_all) = (decides(Reason::TargetingMatch), decides(Reason::Static));
    let allowed = match user {
        Some(_) if is_allowed => &ALLOWED,
        Some(_) => &NOT_ALLOWED,
        None => &NO_USER,
    };
    let mut steps = Steps::default();
    steps.add("exists", true, false, choose(flag.has_row(), &FLAG, &DECLARED));
    steps.add("enabled", flag.enabled, !flag.enabled, choose(flag.enabled, &ENABLED, &DISABLED));
    steps.add("allowed", is_allowed, is_allowed, allowed);
    let row_rules = flag.rules().map(|rules| &**rules);
    if reason == Reason::Error {
        steps.add("rules", false, true, unreadable(&FLAG_RULES, row_rules));
    }
    let of_row = OfRow { subject, bucket_by: flag.bucket_by(), attributes };
    let most = steps.add_ceiling(row_rules, &of_row);
    let matching = |percent: u8| unit.matching(percent.min(most), &FLAG_OFF, &FLAG_OFF_WITHOUT);
    let scene = Scene { unit: &unit, of_row, flags };
    steps.add_rules(row_rules, rule, &scene, |_| true, matching);
    let percent = flag.rollout_percent.min(most.into());
    steps.add("100 %", for_all, for_all, ROLLOUT.with([("percent", percent.to_string().into())]));
    steps.add_unit(&unit, user, unit.bucket.is_none(), decides(Reason::Default));
    steps.add("bucket < rollout", value, true, unit.comparison(percent));
    steps.steps
}

/// The name of the last step of a value.
const OWN: &str = "the value itself";

/// The steps of the evaluation of a value without rules.
#[must_use]
pub fn of_value_without_rules() -> Vec<Step> {
    let mut steps = Steps::default();
    steps.add("exists", true, false, &VALUE);
    steps.add(OWN, true, true, &WITHOUT_RULES);
    steps.steps
}

/// The steps of the evaluation of a value with rules. `bucket` is that of its unit.
#[must_use]
pub fn of_value(
    targeting: &Targeting,
    rule: Option<u8>,
    bucket: Option<u8>,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
    flags: Prerequisites<'_>,
) -> Vec<Step> {
    let bucket_by = targeting.bucket_by.as_deref();
    let unit = Unit { name: bucket_by.unwrap_or(USER), bucket: bucket.map(Into::into) };
    let row_rules = targeting.rules.as_deref();
    let mut steps = Steps::default();
    steps.add("exists", true, false, &VALUE);
    let are_unreadable = row_rules.is_some_and(|rules| rules.rules().is_none());
    if are_unreadable {
        steps.add("rules", false, false, unreadable(&VALUE_RULES, row_rules));
    }
    let matching = |percent| unit.matching(percent, &OWN_VALUE, &OWN_VALUE_WITHOUT);
    let scene = Scene { unit: &unit, of_row: OfRow { subject, bucket_by, attributes }, flags };
    steps.add_rules(row_rules, rule, &scene, |_| true, matching);
    let no_rule = choose(targeting.has_rules(), &NO_RULE_MATCHES, &WITHOUT_RULES);
    steps.add(OWN, true, true, choose(are_unreadable, &NO_RULE_DECIDES, no_rule));
    steps.steps
}

/// The steps of the evaluation of an experiment. With `exclusion`, the unit gets the default in spite
/// of the assignment.
#[must_use]
pub fn of_variant(
    experiment: &Experiment,
    assignment: Assignment,
    exclusion: Option<&'static Template>,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
    flags: Prerequisites<'_>,
) -> Vec<Step> {
    let Assignment { variant, reason, position, rule, .. } = assignment;
    let bucket = position.map(|position| position.bucket);
    let unit = Unit { name: experiment.bucket_by.as_deref().unwrap_or(USER), bucket };
    let is_off = experiment.state == ExperimentState::Off;
    let is_shipped = reason == Reason::Static;
    let by_rules = reason == Reason::TargetingMatch && variant.is_none();
    let is_forced = reason == Reason::TargetingMatch && !by_rules;
    let mut steps = Steps::default();
    steps.add("exists", true, false, &EXPERIMENT);
    steps.add("running", !is_off, is_off, choose(is_off, &NOT_STARTED, &STARTED));
    steps.add("winner", is_shipped, is_shipped, choose(is_shipped, &WINNER, &NO_WINNER));
    let has_none = reason == Reason::Default;
    steps.add_unit(&unit, subject.text(str::to_owned), has_none, has_none);
    steps.add("forced", is_forced, is_forced, choose(is_forced, &FORCED, &NOT_FORCED));
    let row_rules = experiment.rules.as_deref();
    if reason == Reason::Error {
        steps.add("rules", false, true, unreadable(&FLAG_RULES, row_rules));
    }
    let of_row = OfRow { subject, bucket_by: experiment.bucket_by.as_deref(), attributes };
    let most = steps.add_ceiling(row_rules, &of_row);
    let is_out = |percent: u8| percent.min(most) == 0;
    let matching = |percent| choose(is_out(percent), &NO_VARIANT, &MATCH).into();
    let scene = Scene { unit: &unit, of_row, flags };
    steps.add_rules(row_rules, rule, &scene, is_out, matching);
    if by_rules {
        steps.add("rules", false, true, &NO_RULE_MATCHES);
    }
    let is_counted = exclusion.is_none();
    steps.add("counted", is_counted, !is_counted, exclusion.unwrap_or(&COUNTED));
    let bucket = bucket.unwrap_or_default().to_string();
    steps.add("bucket", variant.is_some(), true, BUCKET.with([("bucket", bucket.into())]));
    steps.steps
}

fn choose(first: bool, one: &'static Template, other: &'static Template) -> &'static Template {
    if first { one } else { other }
}

fn unreadable(text: &'static Template, rules: Option<&RowRules>) -> Message {
    let problem = rules.and_then(RowRules::unreadable).map(Message::from);
    text.with([("problem", problem.map_or_else(|| "".into(), Into::into))])
}

/// The bucketing unit of an evaluation.
struct Unit<'a> {
    name: &'a str,
    /// `None` if the unit is missing, or its bucket was not needed.
    bucket: Option<u16>,
}

impl Unit<'_> {
    /// The name of a unit that the context should have.
    fn missing_name(&self) -> Option<Box<str>> {
        (self.bucket.is_none() && self.name != USER).then(|| self.name.into())
    }

    fn missing(&self) -> Message {
        match self.name {
            USER => (&NO_USER).into(),
            VISITOR => (&NO_VISITOR).into(),
            name => NO_UNIT.with([("unit", name.into())]),
        }
    }

    /// How the bucket compares with a percentage.
    fn comparison(&self, percent: i32) -> Message {
        let Some(bucket) = self.bucket else { return self.missing() };
        let is_below = i32::from(bucket) < percent;
        let (bucket, percent) = (bucket.to_string().into(), percent.to_string().into());
        let values = [("bucket", bucket), ("percent", percent)];
        if self.name == USER {
            return choose(is_below, &BELOW, &NOT_BELOW).with(values);
        }
        let [bucket, percent] = values;
        let values = [bucket, percent, ("unit", self.name.into())];
        choose(is_below, &UNIT_BELOW, &UNIT_NOT_BELOW).with(values)
    }

    /// What a rule with this percentage means that matches.
    fn matching(&self, percent: u8, off: &'static Template, without: &'static Template) -> Message {
        match percent {
            0 => off.into(),
            100.. => (&MATCH).into(),
            _ if self.bucket.is_none() => without.with([("problem", self.missing().into())]),
            percent => {
                MATCH_BY_BUCKET.with([("comparison", self.comparison(percent.into()).into())])
            }
        }
    }
}

/// What conditions are explained with.
struct Scene<'a, A> {
    unit: &'a Unit<'a>,
    of_row: OfRow<'a, A>,
    flags: Prerequisites<'a>,
}

/// Steps that are added in the order of the evaluation. Those after the one that decides are not
/// reached.
#[derive(Default)]
struct Steps {
    steps: Vec<Step>,
    is_over: bool,
}

impl Steps {
    fn add(
        &mut self,
        name: impl Into<String>,
        met: bool,
        decides: bool,
        text: impl Into<Message>,
    ) -> &mut Step {
        let is_reached = !self.is_over;
        self.is_over |= decides;
        self.steps.push(Step {
            name: name.into(),
            met: is_reached.then_some(met),
            decides: is_reached && decides,
            text: is_reached.then(|| text.into()),
            topic: Topic::General,
            missing: None,
            level: 0,
            flag: None,
        });
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }

    /// Adds whether the unit is known. `user` is the text of the user's primary key.
    fn add_unit(&mut self, unit: &Unit<'_>, user: Option<String>, is_missing: bool, decides: bool) {
        let name = unit.name;
        let text = match (unit.bucket, user) {
            _ if is_missing => unit.missing(),
            (_, Some(user)) if name == USER => KNOWN_USER.with([("user", user.into())]),
            (Some(bucket), _) => known_unit(name, bucket.to_string()),
            (None, _) => HAS_UNIT.with([("unit", name.into())]),
        };
        let step = self.add(name, !is_missing, decides, text);
        step.missing = unit.missing_name().filter(|_| step.decides);
    }

    /// Adds that flags are off that rules need, if that limits the result, and returns the limit.
    fn add_ceiling(
        &mut self,
        row_rules: Option<&RowRules>,
        of_row: &OfRow<'_, impl Attributes>,
    ) -> u8 {
        let rules = row_rules.and_then(RowRules::rules).filter(|rules| !rules.flags().is_empty());
        let most = rules.and_then(|rules| rules.decide_below(of_row).1).unwrap_or(100);
        if most < 100 {
            let text = LIMITED.with([("percent", most.to_string().into())]);
            self.add("needed flags", false, false, text);
        }
        most
    }

    /// Adds the rules, and the conditions of those that were checked. `matched` is the number of the
    /// rule that matches; by its percentage it decides, which has a text.
    fn add_rules(
        &mut self,
        row_rules: Option<&RowRules>,
        matched: Option<u8>,
        scene: &Scene<'_, impl Attributes>,
        decides: impl Fn(u8) -> bool,
        text: impl Fn(u8) -> Message,
    ) {
        let Some(rules) = row_rules.and_then(RowRules::rules) else { return };
        let mut is_decided = self.is_over;
        for (rule, texts) in rules.explain(&scene.of_row).iter().zip(condition_texts(rules)) {
            let percent = rule.rollout_percent;
            let is_match = matched == Some(rule.number);
            let decides = is_match && decides(percent);
            let is_checked = !self.is_over;
            let text = if is_match { text(percent) } else { (&NO_MATCH).into() };
            let step = self.add(format!("rule {}", rule.number), is_match, decides, text);
            step.topic = Topic::Rule { name: rule.name.clone(), rollout_percent: percent };
            let splits = step.decides && (1..100).contains(&percent);
            step.missing = scene.unit.missing_name().filter(|_| splits);
            if is_checked {
                self.add_conditions(rules, &rule.conditions, &texts.conditions, scene, 1);
            }
            is_decided |= decides;
            // The rules after it are not checked.
            self.is_over |= is_match;
        }
        self.is_over = is_decided;
    }

    fn add_conditions(
        &mut self,
        rules: &Rules,
        conditions: &[ExplainedCondition],
        texts: &[&RawValue],
        scene: &Scene<'_, impl Attributes>,
        level: u8,
    ) {
        for ((condition, json), number) in conditions.iter().zip(texts).zip(1..) {
            let (outcome, unit) = (condition.outcome, scene.unit);
            let needed = match &condition.about {
                About::Flag(key) => Some((key, scene.flags.find(key, scene.of_row.subject))),
                _ => None,
            };
            let text = match condition.about {
                About::Segment { conditions: None, .. } => Some((&NO_SEGMENT).into()),
                About::Bucket(Some(bucket)) => Some(known_unit(unit.name, percent_text(bucket))),
                About::Bucket(None) => Some(unit.missing()),
                About::Flag(_) => needed.and_then(|(_, needed)| needed_text(needed, outcome)),
                _ => outcome_text(outcome).map(Message::from),
            };
            let is_of_unit = condition.about == About::Bucket(None);
            self.steps.push(Step {
                name: format!("condition {number}"),
                met: Some(outcome == Outcome::Passed),
                decides: false,
                text,
                topic: Topic::Condition { json: json.get().into(), outcome },
                missing: unit.missing_name().filter(|_| is_of_unit),
                level,
                flag: None,
            });
            if let Some((key, Prerequisite::Flag(flag))) = needed {
                self.add_flag(key, flag, scene, level + 1);
            }
            if let About::Segment { key, conditions: Some(conditions) } = &condition.about {
                let text = rules.segment(key).map(SegmentConditions::text).unwrap_or_default();
                let texts: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
                self.add_conditions(rules, conditions, &texts, scene, level + 1);
            }
        }
    }

    /// Adds the steps that the evaluation of a flag reaches that a condition needs.
    fn add_flag(&mut self, key: &str, flag: &Flag, scene: &Scene<'_, impl Attributes>, level: u8) {
        let OfRow { subject, attributes, .. } = scene.of_row;
        let evaluation = evaluate(key, flag, subject, attributes);
        let steps = of_flag(flag, evaluation, evaluation.bucket, subject, attributes, scene.flags);
        // The first one says that it exists.
        let reached = steps.into_iter().skip(1).filter(|step| step.met.is_some());
        self.steps.extend(reached.map(|step| Step {
            decides: false,
            level: step.level + level,
            flag: step.flag.or_else(|| Some(key.into())),
            ..step
        }));
    }
}

/// The JSON texts of the conditions of a rule.
#[derive(Deserialize)]
struct ConditionTexts<'a> {
    #[serde(borrow)]
    conditions: Vec<&'a RawValue>,
}

fn condition_texts(rules: &Rules) -> Vec<ConditionTexts<'_>> {
    serde_json::from_str(rules.text()).unwrap_or_default()
}

/// Why a condition on a flag is false whose evaluation has no steps, and what is set over the others.
fn needed_text(needed: Prerequisite<'_>, outcome: Outcome) -> Option<Message> {
    match needed {
        Prerequisite::Flag(flag) if flag.enabled && outcome == Outcome::Missing => {
            Some((&LACKS_FLAG).into())
        }
        Prerequisite::Flag(_) => None,
        Prerequisite::Set(FlagOverride::Test(_)) => Some((&OVERRIDDEN).into()),
        Prerequisite::Set(found @ FlagOverride::ForcedOff) => {
            Some(FORCED_OFF.with([("variable", found.name().into())]))
        }
        Prerequisite::Set(found @ FlagOverride::ForcedOn) => {
            Some(FORCED_ON.with([("variable", found.name().into())]))
        }
        Prerequisite::Endless => Some((&ENDLESS_FLAG).into()),
        Prerequisite::Missing => Some((&NO_SUCH_FLAG).into()),
    }
}

fn known_unit(unit: &str, bucket: String) -> Message {
    KNOWN_UNIT.with([("unit", unit.into()), ("bucket", bucket.into())])
}

/// A number of hundredths.
fn percent_text(hundredths: u16) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Why a condition is false although it was not compared.
fn outcome_text(outcome: Outcome) -> Option<&'static Template> {
    match outcome {
        Outcome::Passed | Outcome::Failed => None,
        Outcome::Missing => Some(&MISSING),
        Outcome::NeedsUser => Some(&NEEDS_USER),
        Outcome::TypeMismatch => Some(&TYPE_MISMATCH),
    }
}
