//! Debezium's envelope: a change of a row in a database. What lands is the row as it is `after` the change.
//!
//! Owns: where the fields stand in an envelope, and which changes leave no row. Does not own: how a value is read, so
//! that the envelope may be written in any format that has members.

use super::{refusal::Refusal, slot::Slot};

/// What a path begins with that is not to be looked for in `after`.
const OUTSIDE: char = '@';
/// What a JSON converter that sends schemas along puts around the envelope.
const WRAPPER: &str = "payload";
const AFTER: &str = "after";

/// What must be known of an envelope beside its fields: a slot each, after the fields' own.
const MEMBERS: [&[&str]; 3] = [&["op"], &[AFTER], &[]];
pub(super) const SLOTS: usize = MEMBERS.len();

/// Where a field may stand, whose path is that below `after`, or that in the envelope with an `@` before it.
pub(super) fn paths(path: &[String]) -> [Vec<String>; 2] {
    let outside = path.first().and_then(|first| first.strip_prefix(OUTSIDE));
    let plain: Vec<String> = match outside {
        Some(first) => [first.to_owned()].into_iter().chain(path.iter().skip(1).cloned()).collect(),
        None => [AFTER.to_owned()].into_iter().chain(path.iter().cloned()).collect(),
    };
    [wrapped(&plain), plain]
}

/// Where the members of the envelope stand, with the slot of each, counted from the first that is no field's.
pub(super) fn member_paths() -> Vec<(Vec<String>, usize)> {
    let members = MEMBERS.iter().map(|path| path.iter().map(ToString::to_string).collect::<Vec<_>>());
    let both = |(path, slot): (Vec<String>, usize)| [(wrapped(&path), slot), (path, slot)];
    // The envelope itself has no name where nothing is around it.
    members.zip(0..).flat_map(both).filter(|(path, _)| !path.is_empty()).collect()
}

fn wrapped(path: &[String]) -> Vec<String> {
    [WRAPPER.to_owned()].into_iter().chain(path.iter().cloned()).collect()
}

/// Whether the change leaves a row. `members` are the slots of the envelope's own members.
pub(super) fn leaves_row(members: &[Slot<'_>]) -> Result<bool, Refusal> {
    let [op, after, payload] = members else { return Ok(true) };
    match (op, after) {
        (Slot::Text(op), Slot::Object) if matches!(&**op, "c" | "r" | "u") => Ok(true),
        (Slot::Text(op), _) if matches!(&**op, "d" | "t" | "m") => Ok(false),
        (Slot::Text(op), after) if matches!(&**op, "c" | "r" | "u") => {
            Err(Refusal::not_debezium(format!("op is {op:?}, and after is {after}")))
        }
        // A tombstone that had a schema sent along.
        (Slot::Absent, Slot::Absent) if *payload == Slot::Null => Ok(false),
        (Slot::Absent | Slot::Null, _) => Err(Refusal::not_debezium("there is no op".into())),
        (op, _) => Err(Refusal::not_debezium(format!("op is {op}, none of c, r, u, d, t and m"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_path_leads_into_after_unless_it_begins_with_an_at() {
        for (given, plain) in [("id", "after.id"), ("a.b", "after.a.b"), ("@op", "op"), ("@source.lsn", "source.lsn")] {
            assert_eq!(paths(&path(given)), [path(&format!("payload.{plain}")), path(plain)], "{given}");
        }
        assert_eq!(paths(&path("@after.@id"))[1], path("after.@id"));
    }

    #[test]
    fn the_envelope_s_own_members_have_slots_of_their_own() {
        let expected = [("payload.op", 0), ("op", 0), ("payload.after", 1), ("after", 1), ("payload", 2)];
        assert_eq!(member_paths(), expected.map(|(text, slot)| (path(text), slot)));
    }
}
