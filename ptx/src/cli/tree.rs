//! TOML with line numbers, and tables that report the keys that nobody asked for.

use toml::de::{DeTable, DeValue};

use super::names::meant;

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub line: u32,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Int(i128),
    /// A float as written, so that it is rounded once, to the type that it is for.
    Float(String),
    Bool(bool),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    Date,
}

/// Deeper nesting means nothing here.
const DEPTH: usize = 16;

pub fn parse(text: &str) -> Result<Node, (u32, String)> {
    let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
    let line = |at: usize| starts.partition_point(|&s| s <= at) as u32;
    if let Some(at) = long_key(text) {
        return Err((line(at), "the key has too many parts".into()));
    }
    let found = DeTable::parse(text).map_err(|e| (e.span().map_or(1, |s| line(s.start)), e.message().to_string()))?;
    let start = found.span().start;
    node(start, &DeValue::Table(found.into_inner()), &line, 0)
}

/// Where a key of too many parts stands, `a.b.c.…`: a table in a table in a table, which would be taken apart by recursion.
fn long_key(text: &str) -> Option<usize> {
    let b = text.as_bytes();
    let (mut i, mut parts) = (0, 0);
    while i < b.len() {
        match b[i] {
            q @ (b'"' | b'\'') if b[i..].starts_with(&[q; 3]) => {
                let end = b[i + 3..].windows(3).position(|w| w == [q; 3]);
                i = end.map_or(b.len(), |e| i + 3 + e + 2);
            }
            q @ (b'"' | b'\'') => {
                i += 1;
                while i < b.len() && b[i] != q && b[i] != b'\n' {
                    i += if b[i] == b'\\' && q == b'"' { 2 } else { 1 };
                }
            }
            b'#' => i += b[i..].iter().position(|&c| c == b'\n').unwrap_or(b.len() - i) - 1,
            b'.' => parts += 1,
            b'=' | b',' | b'[' | b']' | b'{' | b'}' | b'\n' => parts = 0,
            _ => {}
        }
        if parts > DEPTH {
            return Some(i);
        }
        i += 1;
    }
    None
}

fn node(at: usize, v: &DeValue, line: &dyn Fn(usize) -> u32, depth: usize) -> Result<Node, (u32, String)> {
    let here = line(at);
    if depth > DEPTH {
        return Err((here, "nested too deep".into()));
    }
    let value = match v {
        DeValue::String(s) => Value::Text(s.to_string()),
        DeValue::Integer(i) => {
            let x = i128::from_str_radix(i.as_str(), i.radix()).map_err(|_| (here, format!("`{}` is too large", i.as_str())))?;
            Value::Int(x)
        }
        DeValue::Float(f) => Value::Float(f.as_str().to_string()),
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(a) => {
            Value::List(a.iter().map(|x| node(x.span().start, x.get_ref(), line, depth + 1)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(t) => {
            let mut list = Vec::new();
            for (k, v) in t.iter() {
                let mut n = node(v.span().start, v.get_ref(), line, depth + 1)?;
                // A table in a section of its own begins where its name stands.
                n.line = line(k.span().start);
                list.push((k.span().start, k.get_ref().to_string(), n));
            }
            // The map is sorted by name; the file's order is the user's.
            list.sort_by_key(|(at, ..)| *at);
            Value::Table(list.into_iter().map(|(_, k, n)| (k, n)).collect())
        }
    };
    Ok(Node { line: here, value })
}

impl Value {
    fn what(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Date => "a date",
        }
    }
}

/// What is wrong in a file: line and sentence.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<(u32, String)>);

impl Problems {
    pub fn add(&mut self, line: u32, path: &str, why: impl std::fmt::Display) {
        self.0.push((line, if path.is_empty() { why.to_string() } else { format!("{path}: {why}") }));
    }
}

/// A table that is read key by key; `path` leads to it.
pub struct Table<'a> {
    pub path: String,
    pub line: u32,
    entries: &'a [(String, Node)],
    asked: Vec<&'a str>,
}

impl<'a> Table<'a> {
    pub fn new(path: &str, n: &'a Node, p: &mut Problems) -> Table<'a> {
        let entries: &[_] = match &n.value {
            Value::Table(t) => t,
            v => {
                p.add(n.line, path, format!("expected a table, found {}", v.what()));
                &[]
            }
        };
        Table { path: path.to_string(), line: n.line, entries, asked: Vec::new() }
    }

    pub fn entries(&self) -> &'a [(String, Node)] {
        self.entries
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key, which is then known.
    pub fn get(&mut self, key: &'a str) -> Option<&'a Node> {
        self.asked.push(key);
        self.entries.iter().find(|(k, _)| k == key).map(|(_, n)| n)
    }

    /// Reports every key that was not asked for.
    pub fn finish(self, p: &mut Problems) {
        for (k, n) in self.entries.iter().filter(|(k, _)| !self.asked.contains(&k.as_str())) {
            p.add(n.line, &self.path, format!("unknown key `{k}`{}", meant(k, &self.asked).replace("there is", "keys are")));
        }
    }

    fn typed<T>(&mut self, key: &'a str, p: &mut Problems, expected: &str, f: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let n = self.get(key)?;
        let found = f(&n.value);
        if found.is_none() {
            p.add(n.line, &self.join(key), format!("expected {expected}, found {}", n.value.what()));
        }
        found
    }

    pub fn text(&mut self, key: &'a str, p: &mut Problems) -> Option<&'a str> {
        self.typed(key, p, "text", |v| if let Value::Text(t) = v { Some(t.as_str()) } else { None })
    }

    pub fn flag(&mut self, key: &'a str, p: &mut Problems) -> Option<bool> {
        self.typed(key, p, "true or false", |v| if let Value::Bool(b) = v { Some(*b) } else { None })
    }

    pub fn whole(&mut self, key: &'a str, p: &mut Problems) -> Option<u64> {
        self.typed(key, p, "a whole number from 0 on", |v| if let Value::Int(i) = v { u64::try_from(*i).ok() } else { None })
    }

    pub fn number(&mut self, key: &'a str, p: &mut Problems) -> Option<f64> {
        self.typed(key, p, "a number", |v| match v {
            Value::Int(i) => Some(*i as f64),
            Value::Float(t) => t.parse().ok(),
            _ => None,
        })
    }

    pub fn list(&mut self, key: &'a str, p: &mut Problems) -> Option<&'a [Node]> {
        self.typed(key, p, "a list", |v| if let Value::List(l) = v { Some(l.as_slice()) } else { None })
    }

    pub fn texts(&mut self, key: &'a str, p: &mut Problems) -> Option<Vec<&'a str>> {
        self.typed(key, p, "a list of text", |v| match v {
            Value::List(l) => l.iter().map(|n| if let Value::Text(t) = &n.value { Some(t.as_str()) } else { None }).collect(),
            _ => None,
        })
    }

    /// A list of whole numbers, or one.
    pub fn wholes(&mut self, key: &'a str, p: &mut Problems) -> Option<Vec<u64>> {
        let one = |v: &Value| if let Value::Int(i) = v { u64::try_from(*i).ok() } else { None };
        self.typed(key, p, "whole numbers from 0 on", |v| match v {
            Value::List(l) => l.iter().map(|n| one(&n.value)).collect(),
            v => one(v).map(|n| vec![n]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_order_and_unknown_keys() {
        let n = parse("z = 1\na = [2, 3]\n[[t]]\nname = 'x'\ncuont = 0x10\n").unwrap();
        let mut p = Problems::default();
        let mut t = Table::new("", &n, &mut p);
        assert_eq!(t.entries().iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>(), ["z", "a", "t"]);
        assert_eq!((t.whole("z", &mut p), t.wholes("a", &mut p)), (Some(1), Some(vec![2, 3])));
        let list = t.list("t", &mut p).unwrap();
        let mut inner = Table::new("t[0]", &list[0], &mut p);
        assert_eq!((inner.text("name", &mut p), inner.whole("count", &mut p)), (Some("x"), None));
        inner.finish(&mut p);
        t.finish(&mut p);
        assert_eq!(p.0, [(5, "t[0]: unknown key `cuont`; did you mean `count`?".to_string())]);
        assert_eq!(parse("a = 1\nb = \n").unwrap_err().0, 2);
        let deep = format!("a = {}1{}", "[".repeat(40), "]".repeat(40));
        assert!(parse(&deep).is_err() && parse(&format!("{}b = 1", "a.".repeat(100_000))).is_err());
        assert!(parse(&format!("a = {}", "{a=".repeat(100_000))).is_err());
        for key in ["[a{}]", "'a'{} = 1", "x = {b{} = 1}", "x = \"\"\"\n\"\n\"\"\"\n[b{}]"] {
            assert!(parse(&key.replace("{}", &" . \"b\"".repeat(100_000))).is_err(), "{key}");
        }
        assert!(parse("# ...................................\nx = '....................'\ny = [0.5, 1.5]\n").is_ok());
    }
}
