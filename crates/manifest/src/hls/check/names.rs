//! Names and what each was seen to mean: a cache or a player that knows a name by its first bytes plays those again.

use std::collections::{HashMap, VecDeque};

/// The newest names, each with the meaning it had first.
#[derive(Debug)]
pub(super) struct Names<M> {
    meanings: HashMap<String, M>,
    in_order: VecDeque<String>,
    max: usize,
}

impl<M: Copy + PartialEq> Names<M> {
    /// Remembers `max` names.
    pub(super) fn new(max: usize) -> Names<M> {
        Names { meanings: HashMap::new(), in_order: VecDeque::new(), max }
    }

    /// `name` means `meaning` now. Returns what else it meant before.
    pub(super) fn note(&mut self, name: &str, meaning: M) -> Option<M> {
        if let Some(before) = self.meanings.get(name) {
            return Some(*before).filter(|before| *before != meaning);
        }
        if self.in_order.len() >= self.max
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.meanings.remove(&oldest);
        }
        self.in_order.push_back(name.to_owned());
        self.meanings.insert(name.to_owned(), meaning);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_names_are_remembered() {
        let mut names = Names::new(2);
        assert_eq!(names.note("a", 1), None);
        assert_eq!(names.note("a", 1), None);
        assert_eq!(names.note("a", 2), Some(1));
        assert_eq!(names.note("b", 2), None);
        assert_eq!(names.note("c", 3), None);
        assert_eq!(names.note("b", 9), Some(2));
        assert_eq!(names.note("a", 9), None, "forgotten");
    }
}
