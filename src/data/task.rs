//! The three tasks of the paper (§3.1.1): what is forged, by which methods.
//!
//! A method belongs to one task, so the name of the seen method says how pictures are made: a hole of a photograph is filled
//! ([`super::made`]), or a painted face is swapped or edited ([`super::faces`]).

use serde::{Deserialize, Serialize};

use super::faces::{EDITS, SWAPS};
use super::forge::FORGERS;
use crate::error::{Error, Result};

/// What is forged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A region of a photograph is filled in.
    #[default]
    Inpainting,
    /// The face of one person is put into a picture of another.
    Swap,
    /// Something about a face is changed: the colour of the hair, a beard, a smile, glasses.
    Attribute,
}

impl Task {
    pub const ALL: [Task; 3] = [Task::Inpainting, Task::Swap, Task::Attribute];

    /// As keys and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Task::Inpainting => "inpainting",
            Task::Swap => "swap",
            Task::Attribute => "attribute",
        }
    }

    /// Names of the methods that the program has for it; the first is the one that is trained on unless `data.seen` says otherwise.
    pub fn methods(self) -> Vec<&'static str> {
        match self {
            Task::Inpainting => FORGERS.iter().map(|f| f.name()).collect(),
            Task::Swap => SWAPS.iter().map(|m| m.name()).collect(),
            Task::Attribute => EDITS.iter().map(|m| m.name()).collect(),
        }
    }

    /// The task that a method belongs to. `key` is the key that named the method and heads the error.
    pub fn of_method(key: &str, name: &str) -> Result<Task> {
        if let Some(task) = Task::ALL.into_iter().find(|t| t.methods().contains(&name)) {
            return Ok(task);
        }
        let all = || Task::ALL.into_iter().flat_map(Task::methods);
        let near = all().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let near = near.filter(|n| strsim::jaro_winkler(n, name) > 0.7);
        let hint = near.map(|n| format!("did you mean {n:?}? ")).unwrap_or_default();
        let lists: Vec<String> = Task::ALL.iter().map(|t| format!("{} for {}", t.methods().join(", "), t.name())).collect();
        Err(Error::config(key, format!("no method {name:?}; {hint}the methods are {}", lists.join("; "))))
    }

    /// Refuses methods of another task: values of `data.seen` and `data.unseen`.
    pub fn check(self, seen: &str, unseen: &[String]) -> Result<()> {
        let named = std::iter::once(("data.seen", seen)).chain(unseen.iter().map(|name| ("data.unseen", name.as_str())));
        for (key, name) in named {
            let of = Task::of_method(key, name)?;
            if of != self {
                let why = format!(
                    "{name} is a method of the task {}; for {} use {}, or --task {}",
                    of.name(),
                    self.name(),
                    self.methods().join(", "),
                    of.name()
                );
                return Err(Error::config(key, why));
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Task {
    type Err = String;
    fn from_str(s: &str) -> Result<Task, String> {
        let names: Vec<&str> = Task::ALL.iter().map(|t| t.name()).collect();
        Task::ALL.into_iter().find(|t| t.name() == s).ok_or_else(|| format!("{s:?} is no task; give {}", names.join(", ")))
    }
}

/// The methods of `all` that `data.seen` and `data.unseen` name: the seen one, and the unseen ones (all others where none is named).
pub(super) fn chosen<M: ?Sized + 'static>(
    seen: &str,
    unseen: &[String],
    all: &[&'static M],
    name: impl Fn(&M) -> &'static str,
) -> Result<(&'static M, Vec<&'static M>)> {
    let find = |key: &str, wanted: &str| -> Result<&'static M> {
        let task = Task::of_method(key, wanted)?;
        all.iter().copied().find(|m| name(m) == wanted).ok_or_else(|| {
            let why = format!("{wanted} is a method of the task {}, data.seen = {seen:?} of another", task.name());
            Error::config(key, why)
        })
    };
    let first = find("data.seen", seen)?;
    if unseen.is_empty() {
        return Ok((first, all.iter().copied().filter(|m| name(m) != name(first)).collect()));
    }
    let mut others: Vec<&'static M> = Vec::new();
    for wanted in unseen {
        let m = find("data.unseen", wanted)?;
        if name(m) == name(first) {
            return Err(Error::config("data.unseen", format!("{wanted} is also data.seen; take it off one of them")));
        }
        if others.iter().all(|o| name(o) != name(m)) {
            others.push(m);
        }
    }
    Ok((first, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_belongs_to_one_task() {
        for task in Task::ALL {
            assert_eq!(task.name().parse::<Task>().unwrap(), task);
            assert!(task.methods().len() >= 2, "{}: one to train on, one that is unseen", task.name());
            for name in task.methods() {
                assert_eq!(Task::of_method("data.seen", name).unwrap(), task);
                assert_eq!(Task::ALL.iter().filter(|t| t.methods().contains(&name)).count(), 1, "{name}");
            }
        }
        assert!("swop".parse::<Task>().unwrap_err().contains("inpainting, swap, attribute"));
    }

    #[test]
    fn methods_of_another_task_are_refused_by_name() {
        Task::Swap.check("warp", &[]).unwrap();
        let e = Task::Swap.check("telea", &[]).unwrap_err().to_string();
        assert!(e.contains("data.seen") && e.contains("inpainting") && e.contains("warp"), "{e}");
        let e = Task::Swap.check("warp", &["flow".into()]).unwrap_err().to_string();
        assert!(e.contains("data.unseen") && e.contains("--task attribute"), "{e}");
        let chosen = |seen: &str, unseen: &[String]| chosen(seen, unseen, &SWAPS, |m| m.name()).map(|(s, u)| (s.name(), u.len()));
        assert_eq!(chosen("warp", &[]).unwrap(), ("warp", 1));
        let e = chosen("warp", &["telea".into()]).unwrap_err().to_string();
        assert!(e.contains("data.unseen") && e.contains("telea"), "{e}");
        let e = chosen("telly", &[]).unwrap_err().to_string();
        assert!(e.contains("did you mean \"telea\"") && e.contains("for swap"), "{e}");
    }
}
