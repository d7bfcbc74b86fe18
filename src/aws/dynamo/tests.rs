use super::*;

fn condition(when: &When) -> (Option<String>, Placeholders) {
    let mut names = Placeholders::default();
    (names.condition(when), names)
}

#[test]
fn an_empty_condition_is_none_at_all() {
    let (expression, mut names) = condition(&vec![]);
    assert_eq!(expression, None);
    assert_eq!(names.names(), None);
    assert_eq!(names.values(), None);
}

#[test]
fn a_condition_is_a_conjunction_of_disjunctions_of_placeholders() {
    let (expression, mut names) = condition(&vec![
        vec![
            Test::Absent,
            Test::Eq("status".into(), Datum::S("x".into())),
        ],
        vec![Test::Lt("seq".into(), 7), Test::No("seq".into())],
    ]);
    assert_eq!(
        expression.as_deref(),
        Some(
            "(attribute_not_exists(#n0) OR #n1 = :v0) AND (#n2 < :v1 OR attribute_not_exists(#n2))"
        )
    );
    let named = names.names().expect("names are used");
    assert_eq!(named["#n0"], "pk");
    assert_eq!(named["#n1"], "status");
    assert_eq!(named["#n2"], "seq");
    let values = names.values().expect("values are used");
    assert_eq!(values[":v0"], AttributeValue::S("x".into()));
    assert_eq!(values[":v1"], AttributeValue::N("7".into()));
}

#[test]
fn a_list_without_atoms_never_holds() {
    let (expression, _) = condition(&vec![vec![]]);
    assert_eq!(
        expression.as_deref(),
        Some("(attribute_exists(#n0) AND attribute_not_exists(#n0))")
    );
}

#[test]
fn an_update_sets_and_removes() {
    let mut names = Placeholders::default();
    let set = Item::from([("size".to_owned(), Datum::N(-3))]);
    let update = names.update(set, vec!["ttl".into(), "name".into()]);
    assert_eq!(update.as_deref(), Some("SET #n0 = :v0 REMOVE #n1, #n2"));
    assert_eq!(Placeholders::default().update(Item::new(), vec![]), None);
}

#[test]
fn foreign_attributes_are_told_and_not_dropped() {
    let map = Map::from([("flag".to_owned(), AttributeValue::Bool(true))]);
    assert!(matches!(
        item(map),
        Err(StoreError::Failed {
            kind: Trouble::Other,
            ..
        })
    ));
    let map = Map::from([("n".to_owned(), AttributeValue::N("1.5".into()))]);
    assert!(item(map).is_err());
}
