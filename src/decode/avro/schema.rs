//! An Avro schema as types that point at each other, and how it is read from JSON.
//!
//! Owns: names, namespaces, references, aliases, defaults and logical types as the specification has them. Does not own:
//! what follows from two schemas ([`super::compile`]).
//!
//! The library's parser was tried. It panics at a name that is none, and takes a UUID in 16 bytes for one with a length
//! before it; both come from outside.

use std::collections::HashMap;

use serde_json::{Map, Value};

pub(super) type TypeId = usize;

/// A schema of more types is refused.
const TYPES_MAX: usize = 10_000;

/// Types in the order in which they were met; those with a name may point back at themselves.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Types {
    types: Vec<Type>,
    pub(super) root: TypeId,
}

impl Eq for Types {}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Type {
    pub(super) form: Form,
    pub(super) logical: Option<Logical>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    Null,
    Bool,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed {
        name: Name,
        size: usize,
    },
    Enum {
        name: Name,
        symbols: Vec<String>,
        default: Option<String>,
    },
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record {
        name: Name,
        fields: Vec<Field>,
    },
    /// Named, and not defined yet.
    Awaited(String),
}

/// What else a value is. Logical types that make no difference here are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logical {
    Date,
    Millis,
    Micros,
    Nanos,
    Decimal { scale: u32 },
    Uuid,
}

/// With its namespace before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) full: String,
    pub(super) aliases: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) of: TypeId,
    pub(super) default: Option<Value>,
}

impl Name {
    /// Without its namespace.
    pub(super) fn short(&self) -> &str {
        short(&self.full)
    }

    /// Whether a reader's name stands for a writer's.
    pub(super) fn reads(&self, writer: &Self) -> bool {
        let alias = |alias: &String| *alias == writer.full || short(alias) == writer.short();
        self.short() == writer.short() || self.aliases.iter().any(alias)
    }
}

fn short(full: &str) -> &str {
    full.rsplit_once('.').map_or(full, |(_, short)| short)
}

impl Types {
    /// The schema of the last text; those before are what it may name, and the other way round.
    pub(super) fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let (mut parser, mut root) = (Parser::default(), None);
        for text in texts {
            let json: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
            root = Some(parser.any(&json, "")?);
        }
        let root = root.ok_or("there is no schema")?;
        if parser.types.len() > TYPES_MAX {
            return Err(format!("it has more than {TYPES_MAX} types"));
        }
        let awaited = parser.types.iter().find_map(|of| match &of.form {
            Form::Awaited(name) => Some(name),
            _ => None,
        });
        match awaited {
            Some(name) => Err(format!("the type {name:?} is nowhere defined")),
            None => Ok(Self { types: parser.types, root }),
        }
    }

    pub(super) fn all(&self) -> &[Type] {
        &self.types
    }

    pub(super) fn get(&self, id: TypeId) -> &Type {
        // Every id comes from the parser, and no type is ever taken away.
        &self.types[id]
    }
}

#[derive(Default)]
struct Parser {
    types: Vec<Type>,
    names: HashMap<String, TypeId>,
}

impl Parser {
    fn any(&mut self, json: &Value, namespace: &str) -> Result<TypeId, String> {
        match json {
            Value::String(name) => Ok(self.by_name(name, namespace)),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => self.object(object, namespace),
            other => Err(format!("{other} is not a type")),
        }
    }

    fn push(&mut self, form: Form) -> TypeId {
        self.types.push(Type { form, logical: None });
        self.types.len() - 1
    }

    fn by_name(&mut self, name: &str, namespace: &str) -> TypeId {
        if let Some(form) = primitive(name) {
            return self.push(form);
        }
        let full = qualified(name, namespace);
        if let Some(known) = self.names.get(&full).or_else(|| self.names.get(name)) {
            return *known;
        }
        let id = self.push(Form::Awaited(full.clone()));
        self.names.insert(full, id);
        id
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<TypeId, String> {
        let mut ids = Vec::with_capacity(branches.len());
        for branch in branches {
            if branch.is_array() {
                return Err("a union stands in a union".into());
            }
            ids.push(self.any(branch, namespace)?);
        }
        Ok(self.push(Form::Union(ids)))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        let of = object.get("type").ok_or("a type has no \"type\"")?;
        let Value::String(of) = of else { return self.any(of, namespace) };
        let id = match of.as_str() {
            "record" | "error" => return self.record(object, namespace),
            "enum" => return self.enumeration(object, namespace),
            "fixed" => self.fixed(object, namespace)?,
            "array" => {
                let items = self.part(object, "items", namespace)?;
                self.push(Form::Array(items))
            }
            "map" => {
                let values = self.part(object, "values", namespace)?;
                self.push(Form::Map(values))
            }
            name => self.by_name(name, namespace),
        };
        let logical = logical(object, &self.types[id].form);
        if logical.is_some() {
            self.types[id].logical = logical;
        }
        Ok(id)
    }

    fn part(&mut self, object: &Map<String, Value>, key: &str, namespace: &str) -> Result<TypeId, String> {
        let part = object.get(key).ok_or_else(|| format!("a type has no {key:?}"))?;
        self.any(part, namespace)
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        let name = name(object, namespace)?;
        let inside = name.full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let id = self.announce(&name)?;
        let described = object.get("fields").and_then(Value::as_array);
        let described = described.ok_or_else(|| format!("the record {:?} has no \"fields\"", name.full))?;
        let mut fields = Vec::with_capacity(described.len());
        for field in described {
            fields.push(self.field(field, &inside)?);
        }
        self.types[id].form = Form::Record { name, fields };
        Ok(id)
    }

    fn field(&mut self, field: &Value, namespace: &str) -> Result<Field, String> {
        let name = field.get("name").and_then(Value::as_str).ok_or("a field has no \"name\"")?;
        let of = field.get("type").ok_or_else(|| format!("the field {name:?} has no \"type\""))?;
        // A logical type may stand beside the name of the type, where the specification has it inside.
        let beside = of.is_string() && field.get("logicalType").is_some();
        let of = match (beside, field.as_object()) {
            (true, Some(object)) if of.as_str().is_some_and(|of| primitive(of).is_some()) => {
                self.object(object, namespace)?
            }
            _ => self.any(of, namespace)?,
        };
        let default = field.get("default").cloned();
        Ok(Field { name: name.to_owned(), aliases: texts(field.get("aliases")), of, default })
    }

    fn enumeration(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        let name = name(object, namespace)?;
        let symbols = texts(object.get("symbols"));
        if symbols.is_empty() {
            return Err(format!("the enum {:?} has no symbols", name.full));
        }
        let default = object.get("default").and_then(Value::as_str).map(str::to_owned);
        self.define(&name.clone(), Form::Enum { name, symbols, default })
    }

    fn fixed(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        let name = name(object, namespace)?;
        let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
        let size = size.ok_or_else(|| format!("the fixed {:?} has no size", name.full))?;
        self.define(&name.clone(), Form::Fixed { name, size })
    }

    fn define(&mut self, name: &Name, form: Form) -> Result<TypeId, String> {
        let id = self.announce(name)?;
        self.types[id].form = form;
        Ok(id)
    }

    /// The place of a type that is about to be defined: what it is made of may name it.
    fn announce(&mut self, name: &Name) -> Result<TypeId, String> {
        match self.names.get(&name.full) {
            None => {
                let id = self.push(Form::Awaited(name.full.clone()));
                self.names.insert(name.full.clone(), id);
                Ok(id)
            }
            Some(&id) if matches!(self.types[id].form, Form::Awaited(_)) => Ok(id),
            Some(_) => Err(format!("the type {:?} is defined twice", name.full)),
        }
    }
}

fn primitive(name: &str) -> Option<Form> {
    Some(match name {
        "null" => Form::Null,
        "boolean" => Form::Bool,
        "int" => Form::Int,
        "long" => Form::Long,
        "float" => Form::Float,
        "double" => Form::Double,
        "bytes" => Form::Bytes,
        "string" => Form::Text,
        _ => return None,
    })
}

fn name(object: &Map<String, Value>, namespace: &str) -> Result<Name, String> {
    let name = object.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or("a record, enum or fixed has no \"name\"")?;
    let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    let full = qualified(name, namespace);
    let inside = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
    let aliases = texts(object.get("aliases")).iter().map(|alias| qualified(alias, inside)).collect();
    Ok(Name { full, aliases })
}

fn qualified(name: &str, namespace: &str) -> String {
    match () {
        () if namespace.is_empty() || name.contains('.') => name.trim_start_matches('.').to_owned(),
        () => format!("{namespace}.{name}"),
    }
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A logical type that does not suit what it stands on is none, as the specification says.
fn logical(object: &Map<String, Value>, form: &Form) -> Option<Logical> {
    match (object.get("logicalType")?.as_str()?, form) {
        ("date", Form::Int) => Some(Logical::Date),
        ("timestamp-millis" | "local-timestamp-millis", Form::Long) => Some(Logical::Millis),
        ("timestamp-micros" | "local-timestamp-micros", Form::Long) => Some(Logical::Micros),
        ("timestamp-nanos" | "local-timestamp-nanos", Form::Long) => Some(Logical::Nanos),
        ("uuid", Form::Fixed { size: 16, .. } | Form::Text) => Some(Logical::Uuid),
        ("decimal", Form::Bytes | Form::Fixed { .. }) => {
            let scale = object.get("scale").map_or(Some(0), Value::as_u64)?;
            Some(Logical::Decimal { scale: u32::try_from(scale).ok()? })
        }
        _ => None,
    }
}
