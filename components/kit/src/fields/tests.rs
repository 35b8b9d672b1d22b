//! The table against bodies that are right, lenient, wrong and hostile.

use serde_json::json;

use super::*;

static PROMPT: Field<Text> = Field::required("prompt", Text { min: 1, max: 5 }, "what to draw");
static COUNT: Field<Integer> = Field::with_default("n", Integer { min: 1, max: 4 }, 1, "how many");
static ASSIST: Field<Boolean> = Field::with_default("assist", Boolean, false, "whether to help");
static SIZE: Field<Choice> = Field::with_default("size", Choice(&["1x1", "2x2"]), "2x2", "how large");
static STRENGTH: Field<Number> =
    Field::optional("strength", Number { min: 0.0, max: 1.0, above_min: true }, "how strong");
const TABLE: Table = &[&PROMPT, &COUNT, &ASSIST, &SIZE, &STRENGTH];

type Row = (String, u64, bool, &'static str, Option<f64>);

fn read(body: &str) -> Result<Row, String> {
    let mut reader = Reader::new(body.as_bytes(), TABLE)?;
    let row = (
        reader.value(&PROMPT),
        reader.value(&COUNT),
        reader.value(&ASSIST),
        reader.value(&SIZE),
        reader.option(&STRENGTH),
    );
    reader.finish(row)
}

#[test]
fn what_is_left_out_takes_its_default() {
    assert_eq!(read(r#"{"prompt":"a"}"#), Ok(("a".into(), 1, false, "2x2", None)));
    assert_eq!(read(r#"{"prompt":"a","strength":null}"#).map(|row| row.4), Ok(None));
}

#[test]
fn values_are_taken_as_pydantic_takes_them() {
    for (written, count) in [("2", 2), ("2.0", 2), ("\"2\"", 2), ("\" 3.0 \"", 3), ("true", 1)] {
        assert_eq!(
            read(&format!(r#"{{"prompt":"a","n":{written}}}"#)).map(|row| row.1),
            Ok(count),
            "{written}"
        );
    }
    for (written, assist) in [("1", true), ("0.0", false), ("\"Yes\"", true), ("\"off\"", false)] {
        assert_eq!(
            read(&format!(r#"{{"prompt":"a","assist":{written}}}"#)).map(|row| row.2),
            Ok(assist),
            "{written}"
        );
    }
}

#[test]
fn characters_are_counted_and_not_bytes() {
    assert!(read(r#"{"prompt":"äöüß€"}"#).is_ok());
    assert_eq!(
        read(r#"{"prompt":"äöüß€x"}"#),
        Err("`prompt` has 6 characters; give text of 1 to 5 characters".into())
    );
    assert_eq!(
        read(r#"{"prompt":""}"#),
        Err("`prompt` has 0 characters; give text of 1 to 5 characters".into())
    );
}

#[test]
fn every_fault_names_its_field_and_the_fix_and_all_are_told_at_once() {
    let text = read(r#"{"n":9,"assist":"maybe","size":"3x3","strength":0,"steps":1}"#).expect_err("faults");
    let faults: Vec<_> = text.split("; `").collect();
    assert_eq!(faults.len(), 6, "{text}");
    assert!(
        faults[0].starts_with("`steps` is not a field; the fields are prompt, n, assist, size, strength")
    );
    assert_eq!(faults[1], "prompt` is missing; give text of 1 to 5 characters");
    assert_eq!(faults[2], "n` is 9; give a whole number from 1 to 4");
    assert_eq!(faults[3], "assist` is \"maybe\", not a boolean; give true or false");
    assert_eq!(faults[4], "size` is \"3x3\"; give one of 1x1, 2x2");
    assert_eq!(faults[5], "strength` is 0; give a number over 0 to 1");
}

#[test]
fn wrong_types_and_impossible_numbers_are_refused() {
    for written in
        ["1.5", "\"two\"", "null", "[1]", "{}", "-1", "1e40", "99999999999999999999", "\"1.2\"", "\"\""]
    {
        assert!(read(&format!(r#"{{"prompt":"a","n":{written}}}"#)).is_err(), "{written}");
    }
    for written in ["\"nan\"", "\"inf\"", "1.1", "-0.1", "[]"] {
        assert!(read(&format!(r#"{{"prompt":"a","strength":{written}}}"#)).is_err(), "{written}");
    }
}

#[test]
fn bodies_that_are_no_flat_object_are_refused() {
    for body in ["", "  ", "[]", "null", "{", r#"{"prompt":"a"} x"#, "\u{feff}{}"] {
        assert!(read(body).is_err(), "{body:?}");
    }
    let deep = format!(r#"{{"prompt":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(
        read(&deep),
        Err("the body is nested more than 16 levels deep; send a flat JSON object".into())
    );
    assert!(read(r#"{"prompt":"[[[\""}"#).is_ok(), "brackets in text are no nesting");
}

#[test]
fn the_schema_says_what_the_parser_does() {
    let schema = schema(TABLE);
    assert_eq!(schema["required"], json!(["prompt"]));
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(
        schema["properties"]["n"],
        json!({"type": "integer", "minimum": 1, "maximum": 4, "description": "how many", "default": 1})
    );
    assert_eq!(schema["properties"]["size"]["enum"], json!(["1x1", "2x2"]));
    assert_eq!(schema["properties"]["strength"]["exclusiveMinimum"], json!(0.0));
}

static TIMES: Field<Choice> = Field::optional("times[]", Choice(&["word"]), "a list in a form");
const FORM: Table = &[&PROMPT, &COUNT, &TIMES];

fn form(texts: &[(&str, &str)]) -> Reader {
    let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Reader::of_form(texts, FORM, &["file"])
}

#[test]
fn texts_of_a_form_are_read_as_values_and_lists_may_come_often() {
    let mut reader = form(&[("prompt", "a"), ("n", "3"), ("times[]", "word"), ("times", "segment")]);
    assert_eq!((reader.value(&PROMPT), reader.value(&COUNT)), ("a".into(), 3));
    assert_eq!(reader.object["times[]"], json!(["word", "segment"]));
    assert_eq!(reader.check(()), Ok(()));
}

#[test]
fn what_is_wrong_with_a_form_names_the_first_field_and_says_all() {
    let mut reader = form(&[("prompt", "a"), ("prompt", "b"), ("who", "me"), ("n", "many")]);
    reader.value(&COUNT);
    let faults = reader.check(()).expect_err("three faults");
    assert_eq!(faults.field.as_deref(), Some("prompt"));
    assert_eq!(
        faults.text,
        "`prompt` is given twice; give it once; `who` is not a field; the fields are prompt, n, times[], file; `n` is \
         \"many\", not a whole number; give a whole number from 1 to 4"
    );
}

#[test]
fn faults_are_told_one_by_one_with_what_was_given() {
    let long = "x".repeat(300);
    let mut reader = form(&[("who", &long), ("n", "many")]);
    reader.value(&PROMPT);
    reader.value(&COUNT);
    let each = reader.check(()).expect_err("three faults").each;
    let kinds: Vec<_> = each.iter().map(|fault| (fault.kind, fault.field.as_deref())).collect();
    let expected = [(FaultKind::Unknown, "who"), (FaultKind::Missing, "prompt"), (FaultKind::Invalid, "n")];
    assert_eq!(kinds, expected.map(|(kind, field)| (kind, Some(field))));
    assert_eq!(each[0].given.as_str().map(|text| text.chars().count()), Some(MAX_GIVEN + 1));
    assert_eq!((&each[1].given, &each[2].given), (&Value::Null, &json!("many")));
}
