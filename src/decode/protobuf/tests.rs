//! Protobuf against the library's own messages, and against bytes that nobody wrote.

use std::sync::Arc;

use proptest::prelude::*;
use prost_reflect::{DynamicMessage, MapKey, ReflectMessage, Value, prost::Message as _};

use super::*;
use crate::{
    decode::Learnt,
    record::{Import, SchemaKind},
};

const ORDER: &str = r#"
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Kind { NONE = 0; CARD = 1; CASH = 5; }
message Order {
  double d = 1; float f = 2; int32 i32 = 3; int64 i64 = 4; uint32 u32 = 5; uint64 u64 = 6; sint32 s32 = 7; sint64 s64 = 8;
  fixed32 x32 = 9; fixed64 x64 = 10; sfixed32 y32 = 11; sfixed64 y64 = 12; bool on = 13; string text = 14; bytes raw = 15;
  Kind kind = 16; optional int32 maybe = 17; Inner inner = 18;
  oneof way { string mail = 20; Inner person = 21; int32 phone = 22; }
  google.protobuf.Timestamp at = 30; google.protobuf.Int64Value wrapped = 31; google.protobuf.StringValue said = 32;
  repeated int32 many = 40; repeated string names = 41; map<string, Inner> by_name = 42; map<string, int32> sums = 43;
  map<int32, int32> numbers = 44; int64 far = 2000;
  message Inner { int64 id = 1; string name = 2; Inner next = 3; }
  message Other { int64 id = 4; }
}
message Refund { int64 id = 1; }
"#;

const SCALARS: [&str; 16] =
    ["d", "f", "i32", "i64", "u32", "u64", "s32", "s64", "x32", "x64", "y32", "y64", "on", "text", "raw", "kind"];

fn order() -> MessageDescriptor {
    ProtobufSchema::parse(ORDER.as_bytes(), "shop.Order").unwrap().0
}

fn of_file(framed: bool) -> ProtobufSettings {
    settings(framed, Some(ProtobufSchema(order())), Some("shop.Order"))
}

fn settings(framed: bool, schema: Option<ProtobufSchema>, message: Option<&str>) -> ProtobufSettings {
    ProtobufSettings { framed, schema, message: message.map(str::to_owned), envelope: Envelope::None }
}

fn read(
    settings: &ProtobufSettings,
    known: &Schemas,
    paths: &[&str],
    bytes: &[u8],
) -> Result<Vec<String>, (Reason, String)> {
    let plan = Plan::of_paths(paths);
    let protobuf = Protobuf::new(&plan, settings);
    let mut reader = protobuf.reader(&plan, known);
    reader.read(bytes).map_err(|refusal| (refusal.reason, refusal.detail))?;
    Ok(reader.slots().iter().map(ToString::to_string).collect())
}

fn read_plain(paths: &[&str], bytes: &[u8]) -> Result<Vec<String>, (Reason, String)> {
    read(&of_file(false), &Schemas::default(), paths, bytes)
}

fn message(of: &MessageDescriptor, fields: &[(&str, Value)]) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for (name, value) in fields {
        message.set_field_by_name(name, value.clone());
    }
    message
}

fn inner(id: i64, name: &str) -> Value {
    let of = order().child_messages().find(|message| message.name() == "Inner").unwrap();
    Value::Message(message(&of, &[("id", Value::I64(id)), ("name", Value::String(name.into()))]))
}

#[test]
fn every_type_is_what_its_writer_meant() {
    let fields = [
        ("d", Value::F64(-0.1)),
        ("f", Value::F32(0.1)),
        ("i32", Value::I32(i32::MIN)),
        ("i64", Value::I64(i64::MIN)),
        ("u32", Value::U32(u32::MAX)),
        ("u64", Value::U64(u64::MAX)),
        ("s32", Value::I32(i32::MIN)),
        ("s64", Value::I64(i64::MIN)),
        ("x32", Value::U32(u32::MAX)),
        ("x64", Value::U64(1)),
        ("y32", Value::I32(-1)),
        ("y64", Value::I64(-2)),
        ("on", Value::Bool(true)),
        ("text", Value::String("é".into())),
        ("raw", Value::Bytes(vec![0, 255].into())),
        ("kind", Value::EnumNumber(5)),
    ];
    let bytes = message(&order(), &fields).encode_to_vec();
    let wanted = [
        "-0.1",
        "0.10000000149011612",
        "-2147483648",
        "-9223372036854775808",
        "4294967295",
        "18446744073709551615",
        "-2147483648",
        "-9223372036854775808",
        "4294967295",
        "1",
        "-1",
        "-2",
        "true",
        "the text \"é\"",
        "2 bytes that are no text",
        "the text \"CASH\"",
    ];
    assert_eq!(read_plain(&SCALARS, &bytes).unwrap(), wanted);
}

#[test]
fn what_is_not_written_is_its_default_or_absent() {
    let wanted = [
        "0.0",
        "0.0",
        "0",
        "0",
        "0",
        "0",
        "0",
        "0",
        "0",
        "0",
        "0",
        "0",
        "false",
        "the text \"\"",
        "0 bytes that are no text",
        "the text \"NONE\"",
    ];
    assert_eq!(read(&of_file(true), &Schemas::default(), &SCALARS, &[0, 0, 0, 0, 1, 0]).unwrap(), wanted);
    let absent =
        ["maybe", "inner", "inner.id", "mail", "phone", "person.id", "at", "wrapped", "many", "by_name", "sums.x"];
    let read = read(&of_file(true), &Schemas::default(), &absent, &[0, 0, 0, 0, 1, 0]).unwrap();
    assert_eq!(read, vec!["nothing"; absent.len()]);
}

#[test]
fn presence_and_defaults_of_proto2_are_its_own() {
    let text = "syntax = \"proto2\"; message M { optional int32 a = 1; optional int32 b = 2 [default = 7]; \
                required string c = 3; optional group G = 4 { optional int32 x = 1; } }";
    let settings = settings(false, Some(ProtobufSchema::parse(text.as_bytes(), "M").unwrap()), Some("M"));
    // A group with x = 5.
    let read = read(&settings, &Schemas::default(), &["a", "b", "c", "g.x"], &[0x23, 0x08, 5, 0x24]).unwrap();
    assert_eq!(read, ["nothing", "7", "nothing", "5"]);
}

#[test]
fn messages_are_read_by_path_and_a_message_in_parts_is_one() {
    let of = order();
    let bytes = message(&of, &[("inner", inner(5, "a"))]).encode_to_vec();
    let paths = ["inner.id", "inner.name", "inner", "inner.next.id", "text.x"];
    let wanted = ["5", "the text \"a\"", "an object", "nothing", "what lies in something other than an object"];
    assert_eq!(read_plain(&paths, &bytes).unwrap(), wanted);
    // The second part says nothing of the id.
    let parts = [bytes, vec![0x92, 0x01, 3, 0x12, 1, b'b']].concat();
    let theirs = DynamicMessage::decode(of, parts.as_slice()).unwrap();
    assert_eq!(
        theirs.get_field_by_name("inner").unwrap().as_message().unwrap().get_field_by_name("id").unwrap().as_i64(),
        Some(5)
    );
    assert_eq!(read_plain(&["inner.id", "inner.name"], &parts).unwrap(), ["5", "the text \"b\""]);
}

#[test]
fn the_last_member_of_a_oneof_is_the_one() {
    let of = order();
    let part = |name: &str, value: Value| message(&of, &[(name, value)]).encode_to_vec();
    let mail = || part("mail", Value::String("m".into()));
    let person = || part("person", inner(5, "a"));
    let paths = ["mail", "person", "person.id"];
    let both = [mail(), person()].concat();
    assert_eq!(read_plain(&paths, &both).unwrap(), ["nothing", "an object", "5"]);
    let both = [person(), mail()].concat();
    assert_eq!(read_plain(&paths, &both).unwrap(), ["the text \"m\"", "nothing", "nothing"]);
    let undeclared = [person(), part("phone", Value::I32(1))].concat();
    assert_eq!(read_plain(&paths, &undeclared).unwrap(), ["nothing", "nothing", "nothing"]);
    let again = [person(), mail(), part("person", inner(0, "b"))].concat();
    assert_eq!(read_plain(&["person.id", "person.name"], &again).unwrap(), ["0", "the text \"b\""], "begun anew");
}

#[test]
fn googles_own_types_are_values() {
    let of = order();
    let of_type = |name: &str| of.parent_pool().get_message_by_name(name).unwrap();
    let time = |seconds, nanos| {
        let of = of_type("google.protobuf.Timestamp");
        Value::Message(message(&of, &[("seconds", Value::I64(seconds)), ("nanos", Value::I32(nanos))]))
    };
    let at = |seconds, nanos| {
        let bytes = message(&of, &[("at", time(seconds, nanos))]).encode_to_vec();
        read_plain(&["at"], &bytes).unwrap().remove(0)
    };
    assert_eq!(at(1, 5), "an instant, 1000000005 nanoseconds since 1970,");
    assert_eq!(at(-1, 999_999_999), "an instant, -1 nanoseconds since 1970,");
    assert_eq!(at(253_402_300_799, 0), "an instant, 253402300799000000 microseconds since 1970,");
    assert_eq!(at(i64::MAX, 0), u64::MAX.to_string(), "no column holds it");
    let wrapped = Value::Message(message(&of_type("google.protobuf.Int64Value"), &[("value", Value::I64(7))]));
    let said = Value::Message(message(&of_type("google.protobuf.StringValue"), &[]));
    let bytes = message(&of, &[("wrapped", wrapped), ("said", said), ("at", time(9, 0))]).encode_to_vec();
    let paths = ["wrapped", "said", "at.seconds"];
    assert_eq!(read_plain(&paths, &bytes).unwrap(), ["7", "the text \"\"", "9"]);
    assert_eq!(read_plain(&["wrapped.value"], &bytes).unwrap(), ["7"]);
}

#[test]
fn lists_are_stepped_over_and_maps_are_read_by_key() {
    let of = order();
    let map = |entries: &[(&str, Value)]| {
        Value::Map(entries.iter().map(|(key, value)| (MapKey::String((*key).into()), value.clone())).collect())
    };
    let fields = [
        ("many", Value::List(vec![Value::I32(1), Value::I32(300)])),
        ("names", Value::List(vec![Value::String("n".into())])),
        ("by_name", map(&[("a", inner(1, "x")), ("b", inner(2, "y"))])),
        ("sums", map(&[("a", Value::I32(-1)), ("nought", Value::I32(0))])),
        ("numbers", Value::Map([(MapKey::I32(1), Value::I32(2))].into())),
        ("far", Value::I64(3)),
    ];
    let bytes = message(&of, &fields).encode_to_vec();
    let paths = ["many", "names", "by_name.b.id", "by_name.c.id", "sums.a", "sums.nought", "sums", "numbers.1", "far"];
    let wanted = ["an array", "an array", "2", "nothing", "-1", "0", "an object", "nothing", "3"];
    assert_eq!(read_plain(&paths, &bytes).unwrap(), wanted);
}

#[test]
fn a_number_that_an_enum_does_not_name_is_no_text() {
    assert_eq!(read_plain(&["kind"], &[0x80, 0x01, 99]).unwrap(), ["99"]);
}

#[test]
fn what_is_wrong_with_the_bytes_is_told() {
    let refused = |bytes: &[u8]| {
        let (reason, told) = read_plain(&["i64", "text", "inner.id"], bytes).unwrap_err();
        assert_eq!(reason, Reason::NotProtobuf);
        told
    };
    assert_eq!(refused(&[0x20]), "the message ends in the middle, about byte 2");
    assert_eq!(
        refused(&[0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
        "a number goes on for too many bytes, about byte 2"
    );
    assert_eq!(refused(&[0x07]), "there is no such field or kind of field, about byte 2");
    assert_eq!(refused(&[0x00]), "there is no such field or kind of field, about byte 2");
    assert_eq!(refused(&[0x0c]), "a group ends that has not begun, about byte 2");
    assert_eq!(refused(&[0x72, 1, 0xff]), "a text is not UTF-8, about byte 4");
    assert_eq!(refused(&[0x22, 0]), "field 4 is written in another way than its schema has it, about byte 2");
    assert_eq!(refused(&[0x0b; 200]), "groups are nested too deeply, about byte 102");
    assert_eq!(refused(b"{\"i64\":1}"), "the message ends in the middle, about byte 4");
}

/// What the library's message has for a scalar, as people are told.
fn told(value: &Value) -> String {
    let slot = match value {
        Value::Bool(value) => Slot::Bool(*value),
        Value::I32(value) => Slot::Int(i64::from(*value)),
        Value::I64(value) => Slot::Int(*value),
        Value::U32(value) => Slot::Int(i64::from(*value)),
        Value::U64(value) => i64::try_from(*value).map_or(Slot::Huge(*value), Slot::Int),
        Value::F32(value) => crate::decode::target::float(f64::from(*value)),
        Value::F64(value) => crate::decode::target::float(*value),
        Value::String(text) => Slot::Text(text.into()),
        Value::Bytes(bytes) => Slot::Bytes(bytes),
        Value::EnumNumber(number) => match order().parent_file().enums().next().unwrap().get_value(*number) {
            Some(value) => return Slot::Text(value.name().into()).to_string(),
            None => Slot::Int(i64::from(*number)),
        },
        other => panic!("{other:?}"),
    };
    slot.to_string()
}

/// Fields of a message as they might be written, sound or not.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let tag = |number: u32, kind: u32| {
        let mut bytes = vec![];
        prost_reflect::prost::encoding::encode_varint(u64::from(number << 3 | kind), &mut bytes);
        bytes
    };
    let number = any::<u64>().prop_map(|value| {
        let mut bytes = vec![];
        prost_reflect::prost::encoding::encode_varint(value, &mut bytes);
        bytes
    });
    let counted = prop::collection::vec(any::<u8>(), 0..9)
        .prop_map(|bytes| [vec![u8::try_from(bytes.len()).unwrap()], bytes].concat());
    prop_oneof![
        6 => (prop::sample::select(vec![3_u32, 4, 5, 6, 7, 8, 13, 16, 17, 50]), number.clone()).prop_map(move |(field, value)| [tag(field, 0), value].concat()),
        2 => (prop::sample::select(vec![1_u32, 10, 12]), any::<[u8; 8]>()).prop_map(move |(field, value)| [tag(field, 1), value.to_vec()].concat()),
        2 => (prop::sample::select(vec![2_u32, 9, 11]), any::<[u8; 4]>()).prop_map(move |(field, value)| [tag(field, 5), value.to_vec()].concat()),
        3 => (prop::sample::select(vec![14_u32, 15, 51]), counted).prop_map(move |(field, value)| [tag(field, 2), value].concat()),
        1 => any::<Vec<u8>>(),
    ]
}

proptest! {
    #[test]
    fn the_library_reads_the_same(fields in prop::collection::vec(field(), 0..12)) {
        let bytes = fields.concat();
        let theirs = DynamicMessage::decode(order(), bytes.as_slice());
        // Whether it is sound may hang on fields that are not declared, hence all that can be written are.
        let ours = read_plain(&SCALARS, &bytes);
        if let (Ok(theirs), Ok(ours)) = (&theirs, &ours) {
            for (name, ours) in SCALARS.iter().zip(ours) {
                let field = theirs.descriptor().get_field_by_name(name).unwrap();
                prop_assert_eq!(&told(&theirs.get_field(&field)), ours, "{}", name);
            }
        }
        if fields.iter().all(|field| field.len() < 200) && theirs.is_ok() {
            prop_assert!(ours.is_ok(), "{:?}: {:?}", ours, bytes);
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, framed: bool) {
        let paths = ["inner.next.next.id", "way", "person.name", "at", "at.seconds", "wrapped", "by_name.a.id", "numbers", "far"];
        let _ = read(&of_file(framed), &Schemas::default(), &paths, &bytes);
    }

    #[test]
    fn no_text_of_a_schema_panics(place in any::<prop::sample::Index>(), with in ".{0,6}") {
        let at = ORDER.floor_char_boundary(place.index(ORDER.len()));
        let _ = ProtobufSchema::parse(format!("{}{with}{}", &ORDER[..at], &ORDER[at..]).as_bytes(), "shop.Order");
    }
}

#[test]
fn a_descriptor_set_is_as_good_as_its_text() {
    let set = order().parent_pool().encode_to_vec();
    let schema = ProtobufSchema::parse(&set, "shop.Order").unwrap();
    let settings = settings(false, Some(schema), None);
    assert_eq!(read(&settings, &Schemas::default(), &["i64"], &[0x20, 5]).unwrap(), ["5"]);
    assert_eq!(ProtobufSchema::parse(&set, "shop.Nothing"), Err("it has no message \"shop.Nothing\"".into()));
    assert!(ProtobufSchema::parse(b"syntax = \"proto3\"; message {}", "M").is_err());
    assert!(ProtobufSchema::parse(&[0xff, 0xfe], "M").unwrap_err().starts_with("not a set of descriptors"));
}

#[test]
fn a_descriptor_in_base64_is_as_good_as_its_text() {
    // lab.proto with the messages Note and Flower, of which the second has an id.
    let text = "CglsYWIucHJvdG8SA2xhYiIGCgROb3RlIhQKBkZsb3dlchIKCgJpZBgBIAEoA2IGcHJvdG8z";
    let protobuf = Protobuf::new(&Plan::of_paths(&["id"]), &settings(true, None, None));
    let schema = crate::record::Schema { kind: SchemaKind::Protobuf, text: text.into(), imports: vec![] };
    let mut known = Schemas::default();
    known.insert(7, Arc::new(Learnt(protobuf.learn(&schema))));
    let read = read(&settings(true, None, None), &known, &["id"], &[0, 0, 0, 0, 7, 2, 2, 0x08, 5]);
    assert_eq!(read.unwrap(), ["5"]);
}

#[test]
fn a_registrys_records_are_read_by_the_message_they_name() {
    let main = "syntax = \"proto3\"; package shop; import \"money.proto\"; \
                message A { map<string, int32> m = 1; message B { shop.Money price = 1; } } message C { int32 x = 1; }";
    let money = "syntax = \"proto3\"; package shop; message Money { int64 cents = 1; }";
    let schema = |text: &str, imports| crate::record::Schema { kind: SchemaKind::Protobuf, text: text.into(), imports };
    let import = Import { name: "money.proto".into(), text: money.into() };
    let read = |message: Option<&str>, paths: &[&str], bytes: &[u8]| {
        let protobuf = Protobuf::new(&Plan::of_paths(paths), &settings(true, None, message));
        let mut known = Schemas::default();
        known.insert(7, Arc::new(Learnt(protobuf.learn(&schema(main, vec![import.clone()])))));
        known.insert(8, Arc::new(Learnt(protobuf.learn(&schema(main, vec![])))));
        read(&settings(true, None, message), &known, paths, bytes)
    };
    // The way to the second message: one step, to 1; both are doubled.
    assert_eq!(read(None, &["x"], &[0, 0, 0, 0, 7, 2, 2, 0x08, 5]).unwrap(), ["5"]);
    // To the first within the first: the entries of its map are no message of their own.
    assert_eq!(read(None, &["price.cents"], &[0, 0, 0, 0, 7, 4, 0, 0, 0x0a, 2, 0x08, 9]).unwrap(), ["9"]);
    // A single nought is the first.
    assert_eq!(read(None, &["m.k"], &[0, 0, 0, 0, 7, 0, 0x0a, 5, 0x0a, 1, b'k', 0x10, 3]).unwrap(), ["3"]);
    assert_eq!(read(Some("shop.C"), &["x"], &[0, 0, 0, 0, 7, 2, 2, 0x08, 5]).unwrap(), ["5"]);
    let told = "it is a shop.A, not a shop.C".to_owned();
    assert_eq!(read(Some("shop.C"), &["x"], &[0, 0, 0, 0, 7, 0]), Err((Reason::WrongType, told)));
    for bytes in [&[0, 0, 0, 0, 7, 2, 200][..], &[0, 0, 0, 0, 7, 1], &[0, 0, 0, 0, 7], &[0, 0, 0, 0, 7, 0xfe, 0x01, 0]]
    {
        assert_eq!(read(None, &["x"], bytes).unwrap_err().0, Reason::NotProtobuf, "{bytes:?}");
    }
    assert_eq!(read(None, &["x"], &[1, 0, 0, 0, 7, 0]).unwrap_err().0, Reason::NotProtobuf);
    let (reason, told) = read(None, &["x"], &[0, 0, 0, 0, 8, 0]).unwrap_err();
    assert!(reason == Reason::UnknownSchema && told.contains("money.proto"), "{told}");
    assert_eq!(
        read(None, &["x"], &[0, 0, 0, 0, 9, 0]),
        Err((Reason::UnknownSchema, "the registry has no schema 9".into()))
    );
}
