//! From the writer's schema, perhaps the reader's, and the declared fields to a program.
//!
//! Owns: Avro's rules of schema resolution, each where it says so. Does not own: reading bytes ([`super::program`]).
//!
//! Only what fields are declared for is resolved: what else differs between two schemas does no harm.

use super::{
    defaults::Defaults,
    program::{Constant, Leaf, Misfit, Program, Step, Symbol, Whole},
    schema::{Field, Form, Logical, Name, TypeId, Types},
    skip::Skips,
};
use crate::{
    decode::{shape::Node, slot::Unit, target::Target},
    record::Reason,
};

pub(super) fn compile(writer: &Types, reader: Option<&Types>, root: &Node) -> Program {
    let mut compiler = Compiler { writer, reader, path: Vec::new(), misfits: Vec::new() };
    let step = compiler.step(writer.root, reader.map(|reader| reader.root), root);
    Program { root: step, skips: Skips::new(writer), misfits: compiler.misfits }
}

struct Compiler<'s> {
    writer: &'s Types,
    reader: Option<&'s Types>,
    /// Where in the record it is, for people.
    path: Vec<String>,
    misfits: Vec<Misfit>,
}

impl<'s> Compiler<'s> {
    /// `wanted` is the reader's type, if there is a reader's schema. Goes no deeper than the declared paths and a union
    /// between any two members of them.
    fn step(&mut self, written: TypeId, wanted: Option<TypeId>, node: &Node) -> Step {
        let form = &self.writer.get(written).form;
        // "If writer's is a union: the branch that was written is resolved against the reader's schema."
        if let Form::Union(branches) = form {
            return Step::Union(branches.iter().map(|branch| self.step(*branch, wanted, node)).collect());
        }
        let Some(wanted) = wanted else { return self.resolved(written, None, node) };
        match self.branch(written, wanted) {
            Some(wanted) => self.resolved(written, Some(wanted), node),
            None => self.does_not_fit(written, wanted),
        }
    }

    /// "If reader's is a union: the first schema in it that matches is resolved"; an exact match goes first, as in other
    /// implementations. Gives the reader's type itself where it is no union.
    fn branch(&self, written: TypeId, wanted: TypeId) -> Option<TypeId> {
        let Form::Union(branches) = self.wanted(wanted) else { return Some(wanted) };
        let written = &self.writer.get(written).form;
        let found =
            |fits: fn(&Form, &Form) -> bool| branches.iter().find(|branch| fits(written, self.wanted(**branch)));
        found(is_same).or_else(|| found(matches)).copied()
    }

    fn wanted(&self, id: TypeId) -> &'s Form {
        // Without a reader's schema there is no id of it.
        &self.reader.unwrap_or(self.writer).get(id).form
    }

    fn resolved(&mut self, written: TypeId, wanted: Option<TypeId>, node: &Node) -> Step {
        let (writer, reader) = (self.writer, self.reader.unwrap_or(self.writer));
        let by = writer.get(written);
        let of = wanted.map_or(by, |wanted| reader.get(wanted));
        if wanted.is_some() && !matches(&by.form, &of.form) {
            return self.does_not_fit(written, wanted.unwrap_or(written));
        }
        let target = Target::whole(node);
        match (&by.form, &of.form) {
            (Form::Null, _) => Step::Null(target),
            (Form::Record { fields: by, .. }, Form::Record { fields: of, .. }) => {
                self.record(by, wanted.is_some().then_some(of), node)
            }
            (Form::Enum { symbols: by, .. }, Form::Enum { symbols: of, default, .. }) => {
                let of = wanted.is_some().then_some((of.as_slice(), default.as_deref()));
                Step::Enum(by.iter().map(|symbol| self.symbol(symbol, of)).collect(), target)
            }
            (Form::Array(items), _) => Step::Array(*items, target),
            (Form::Map(values), Form::Map(of)) => self.map(*values, wanted.is_some().then_some(*of), node),
            (by, _) => match leaf(by, &of.form, of.logical) {
                Some(leaf) => Step::Leaf(leaf, target),
                None => self.does_not_fit(written, wanted.unwrap_or(written)),
            },
        }
    }

    fn record(&mut self, by: &[Field], of: Option<&Vec<Field>>, node: &Node) -> Step {
        let steps = by.iter().map(|field| self.field(field, of, node)).collect();
        let constants = of.map(|of| self.missing(by, of, node)).unwrap_or_default();
        Step::Record(steps, constants, Target::outside(node))
    }

    /// A field of the writer's: found in the reader's by name or alias, and left out if it is not there.
    fn field(&mut self, by: &Field, of: Option<&Vec<Field>>, node: &Node) -> Step {
        let of = match of {
            None => Some((by.name.as_str(), None)),
            Some(of) => reads(of, by).map(|field| (field.name.as_str(), Some(field.of))),
        };
        let Some((name, wanted)) = of else { return Step::Skip(by.of) };
        let Some(node) = node.get(name) else { return Step::Skip(by.of) };
        self.path.push(name.to_owned());
        let step = self.step(by.of, wanted, node);
        self.path.pop();
        step
    }

    /// "A field of the reader's that the writer's record does not have gets its default; without one it is an error."
    fn missing(&mut self, by: &[Field], of: &[Field], node: &Node) -> Vec<Constant> {
        let Some(reader) = self.reader else { return vec![] };
        let mut constants = Vec::new();
        let missing =
            of.iter().filter(|field| !by.iter().any(|by| reads(of, by).is_some_and(|read| read.name == field.name)));
        for field in missing {
            let Some(node) = node.get(&field.name) else { continue };
            let mut defaults = Defaults::new(reader);
            match &field.default {
                Some(json) => defaults.put(field.of, json, node),
                None => defaults.refuse(node),
            }
            let told =
                if field.default.is_some() { "has a default that is none of its type" } else { "has no default" };
            let path = self.below(&field.name);
            let misfit = || Misfit {
                reason: Reason::MissingField,
                told: format!("{path}: the writer's schema does not have it, and in the reader's it {told}"),
            };
            let index = self.misfits.len();
            if defaults.number_misfits(index) {
                self.misfits.push(misfit());
            }
            constants.extend(defaults.constants);
        }
        constants
    }

    /// "A symbol that the reader's enum does not have becomes its default; without one it is an error."
    fn symbol(&mut self, symbol: &str, of: Option<(&[String], Option<&str>)>) -> Symbol {
        let Some((symbols, default)) = of else { return Symbol::Text(symbol.to_owned()) };
        let known = symbols.iter().find(|known| *known == symbol).map(String::as_str);
        match known.or(default) {
            Some(text) => Symbol::Text(text.to_owned()),
            None => Symbol::Misfit(self.misfit(format!("the reader's schema does not have the symbol {symbol:?}"))),
        }
    }

    fn map(&mut self, values: TypeId, wanted: Option<TypeId>, node: &Node) -> Step {
        let mut entries = Vec::new();
        for (name, node) in node.members() {
            self.path.push(name.to_owned());
            entries.push((name.to_owned(), self.step(values, wanted, node)));
            self.path.pop();
        }
        Step::Map(values, entries, Target::outside(node))
    }

    fn does_not_fit(&mut self, written: TypeId, wanted: TypeId) -> Step {
        let (by, of) = (described(&self.writer.get(written).form), described(self.wanted(wanted)));
        Step::Misfit(self.misfit(format!("the writer's {by} can't be read as the reader's {of}")))
    }

    fn misfit(&mut self, told: String) -> usize {
        let path = self.path.join(".");
        let told = if path.is_empty() { told } else { format!("{path}: {told}") };
        self.misfits.push(Misfit { reason: Reason::WrongType, told });
        self.misfits.len() - 1
    }

    fn below(&self, name: &str) -> String {
        self.path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".")
    }
}

/// The reader's field that a writer's is, by name or else by one of the reader's aliases.
fn reads<'f>(of: &'f [Field], by: &Field) -> Option<&'f Field> {
    let named = of.iter().find(|field| field.name == by.name);
    named.or_else(|| of.iter().find(|field| field.aliases.contains(&by.name)))
}

/// Whether two types are the same, without promotion.
fn is_same(by: &Form, of: &Form) -> bool {
    std::mem::discriminant(by) == std::mem::discriminant(of) && matches(by, of)
}

/// "Two schemas match if…": what is inside of records, arrays and maps is another question.
fn matches(by: &Form, of: &Form) -> bool {
    match (by, of) {
        (Form::Null, Form::Null)
        | (Form::Array(_), Form::Array(_))
        | (Form::Map(_), Form::Map(_))
        | (Form::Union(_), _)
        | (_, Form::Union(_)) => true,
        (Form::Record { name: by, .. }, Form::Record { name: of, .. })
        | (Form::Enum { name: by, .. }, Form::Enum { name: of, .. }) => of.reads(by),
        (Form::Fixed { name: by, size: a }, Form::Fixed { name: of, size: b }) => a == b && of.reads(by),
        (by, of) => leaf(by, of, None).is_some(),
    }
}

/// How a value without parts is read, promoted to what the reader wants. The reader's logical type says what it is.
fn leaf(by: &Form, of: &Form, logical: Option<Logical>) -> Option<Leaf> {
    Some(match (by, of) {
        (Form::Bool, Form::Bool) => Leaf::Bool,
        (Form::Int, of) => Leaf::Int(whole(of, logical)?),
        (Form::Long, Form::Int) => return None,
        (Form::Long, of) => Leaf::Long(whole(of, logical)?),
        (Form::Float, Form::Float | Form::Double) => Leaf::Float,
        (Form::Double, Form::Double) => Leaf::Double,
        (Form::Bytes | Form::Text, Form::Text) => Leaf::Text,
        (Form::Bytes | Form::Text, Form::Bytes) => match logical {
            Some(Logical::Decimal { scale }) => Leaf::Decimal(scale),
            _ => Leaf::Bytes,
        },
        (Form::Fixed { size, .. }, Form::Fixed { .. }) => match logical {
            Some(Logical::Decimal { scale }) => Leaf::FixedDecimal(*size, scale),
            Some(Logical::Uuid) => Leaf::Uuid,
            _ => Leaf::Fixed(*size),
        },
        _ => return None,
    })
}

fn whole(of: &Form, logical: Option<Logical>) -> Option<Whole> {
    Some(match (of, logical) {
        (Form::Int, Some(Logical::Date)) => Whole::Days,
        (Form::Long, Some(Logical::Millis)) => Whole::Instant(Unit::Millis),
        (Form::Long, Some(Logical::Micros)) => Whole::Instant(Unit::Micros),
        (Form::Long, Some(Logical::Nanos)) => Whole::Instant(Unit::Nanos),
        (Form::Int | Form::Long, _) => Whole::Number,
        (Form::Float, _) => Whole::Single,
        (Form::Double, _) => Whole::Double,
        _ => return None,
    })
}

fn described(form: &Form) -> String {
    let named = |what: &str, name: &Name| format!("{what} {}", name.full);
    match form {
        Form::Null => "null".into(),
        Form::Bool => "boolean".into(),
        Form::Int => "int".into(),
        Form::Long => "long".into(),
        Form::Float => "float".into(),
        Form::Double => "double".into(),
        Form::Bytes => "bytes".into(),
        Form::Text => "string".into(),
        Form::Array(_) => "array".into(),
        Form::Map(_) => "map".into(),
        Form::Union(_) => "union".into(),
        Form::Fixed { name, .. } => named("fixed", name),
        Form::Enum { name, .. } => named("enum", name),
        Form::Record { name, .. } => named("record", name),
        Form::Awaited(name) => name.clone(),
    }
}
