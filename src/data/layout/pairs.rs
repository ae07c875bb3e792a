//! Videos of FaceForensics++ by their names, and the groups that their pairs make.

use std::collections::HashMap;

/// Whether a name is a number: an original of FaceForensics++.
pub fn numbered(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit())
}

/// Target and source of a fake, of its name `000_003`.
pub fn pair(name: &str) -> Option<(&str, &str)> {
    name.split_once('_').filter(|(a, b)| numbered(a) && numbered(b))
}

/// Videos that fakes join.
#[derive(Default)]
pub struct Pairs(HashMap<String, String>);

impl Pairs {
    fn root(&self, id: &str) -> String {
        let mut at = id.to_string();
        while let Some(up) = self.0.get(&at) {
            at = up.clone();
        }
        at
    }

    /// Makes one group of two videos and of all that they were joined to.
    pub fn join(&mut self, a: &str, b: &str) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.0.insert(a.clone().max(b.clone()), a.min(b));
        }
    }

    /// The group of a video: the least name among those that are joined.
    pub fn of(&self, id: &str) -> String {
        self.root(id)
    }
}
