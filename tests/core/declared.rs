//! What code declares: flags and values without rows, and rows that are not as declared.

use std::sync::Arc;

use flagstaff::declared::{Declared, DeclaredFlag, DeclaredValue, Form};
use flagstaff::snapshot::{Loaded, Snapshot};
use flagstaff::stored_value::StoredValue;
use flagstaff::token_set::Relation;

use crate::rows::{asked, flag, flags, problems, value, values};

fn page_size(form: Form, choices: &[i64]) -> DeclaredValue {
    DeclaredValue {
        key: "page_size".into(),
        default: StoredValue::Integer(20),
        form,
        is_nullable: false,
        choices: choices.iter().copied().map(StoredValue::Integer).collect(),
        is_secret: false,
        client_side: false,
        is_converted: false,
    }
}

fn declared(value: DeclaredValue) -> Arc<Declared> {
    let flag = ("checkout".into(), DeclaredFlag { client_side: false });
    let value = ("page_size".into(), Arc::new(value));
    Arc::new(Declared { flags: [flag].into(), values: [value].into() })
}

fn without_rows() -> Snapshot {
    let declared = declared(page_size(Form::Integer, &[]));
    let all = Loaded { values: Some(Vec::new()), ..flags([]) };
    Snapshot::declaring(declared).next(all)
}

fn stored(snapshot: &Snapshot) -> &StoredValue {
    snapshot.value("page_size").expect("it is declared").value()
}

#[test]
fn declared_keys_without_rows_are_off_and_defaults() {
    let snapshot = without_rows();
    let checkout = snapshot.flag("checkout").expect("it is declared");
    assert!(!checkout.enabled && !checkout.has_row());
    assert_eq!(*stored(&snapshot), StoredValue::Integer(20));
}

#[test]
fn load_of_a_new_row_replaces_what_has_no_row_and_its_deletion_brings_it_back() {
    let by_rows = |rows: Vec<_>| asked(Relation::FLAGS, &["1"], flags(rows));
    let made = without_rows().try_next(by_rows(vec![flag("1", "checkout", 50)])).expect("one row");
    assert!(made.flag("checkout").is_some_and(|flag| flag.enabled && flag.has_row()));
    let deleted = made.try_next(by_rows(Vec::new())).expect("one row");
    assert!(deleted.flag("checkout").is_some_and(|flag| !flag.enabled && !flag.has_row()));
}

#[test]
fn load_of_a_new_value_replaces_the_default_and_its_deletion_brings_it_back() {
    let by_rows = |rows: Vec<_>| asked(Relation::VALUES, &["1"], values(rows));
    let made = without_rows().try_next(by_rows(vec![value("1", "page_size", "50")]));
    let made = made.expect("one row");
    assert_eq!(*stored(&made), StoredValue::Integer(50));
    let deleted = made.try_next(by_rows(Vec::new())).expect("one row");
    assert_eq!(*stored(&deleted), StoredValue::Integer(20));
}

#[test]
fn counts_of_a_flag_without_a_row_stay_from_one_load_to_the_next() {
    let before = without_rows();
    let after = before.next(flags([flag("1", "other", 50)]));
    let identity =
        |snapshot: &Snapshot| snapshot.flag("checkout").map(|flag| flag.identity.clone());
    let (before, after) = (identity(&before), identity(&after));
    assert!(before.zip(after).is_some_and(|(before, after)| Arc::ptr_eq(&before, &after)));
}

#[test]
fn wrong_value_is_the_default_until_code_declares_its_type() {
    let wrong = without_rows().next(values([value("1", "page_size", "\"20\"")]));
    assert_eq!(*stored(&wrong), StoredValue::Integer(20));
    assert_eq!(
        problems(&wrong),
        ["value \"page_size\" is not as code declares it, so evaluations return the default: the \
             value must be an integer, not a string"]
    );
    let right = wrong.with_declared(&declared(page_size(Form::String, &[])));
    assert_eq!(*stored(&right), StoredValue::Text("20".into()));
    assert!(problems(&right).is_empty());
}

#[test]
fn choice_is_the_same_number_whatever_its_text_is() {
    let choices = declared(page_size(Form::Number, &[20, 50]));
    let read = |text| {
        let loaded = values([value("1", "page_size", text)]);
        Snapshot::declaring(choices.clone()).next(loaded)
    };
    assert_eq!(*stored(&read("50.0")), StoredValue::Json("50.0".into()));
    assert_eq!(*stored(&read("51")), StoredValue::Integer(20));
}

#[test]
fn key_that_code_no_longer_declares_is_gone() {
    let snapshot = without_rows().with_declared(&Arc::default());
    assert!(snapshot.flag("checkout").is_none() && snapshot.value("page_size").is_none());
}
