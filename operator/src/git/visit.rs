//! IO: shows a directory of a commit to somebody, one file at a time, so that no more than one is in memory. What is beyond
//! the bounds is left out and told; it fails nothing.

use git2::Tree;

use super::tree::{MODE_FILE, MODE_KIND, MODE_TREE, Place, Reader, TreeError};
use super::{GitError, names};

/// Bounds of `Git::visit`.
#[derive(Clone, Copy, Debug)]
pub struct VisitLimits {
    /// Files and directories that are passed, shown or not.
    pub entries: usize,
    /// Largest file that is shown, in bytes.
    pub file_bytes: u64,
    /// All files that are shown together, in bytes.
    pub total_bytes: u64,
}

/// Who looks. Paths are relative to the directory.
pub trait Visitor {
    /// Is this directory of interest?
    fn enters(&self, directory: &str) -> bool;
    /// Is this file?
    fn wants(&self, file: &str) -> bool;
    /// What it holds.
    fn file(&mut self, path: &str, content: &[u8]);
    /// This file, or all from here on, is not shown.
    fn skipped(&mut self, path: &str, why: String);
}

impl Reader<'_> {
    /// Shows regular files with plain names below `path`.
    pub fn visit(
        &self,
        path: &str,
        mut limits: VisitLimits,
        visitor: &mut dyn Visitor,
    ) -> Result<(), TreeError> {
        self.walk(&self.directory_tree(path)?, &Place::default(), (&mut limits, visitor)).map(drop)
    }

    /// False when a bound ended it.
    fn walk(
        &self,
        tree: &Tree<'_>,
        place: &Place,
        (left, visitor): (&mut VisitLimits, &mut dyn Visitor),
    ) -> Result<bool, TreeError> {
        for entry in tree {
            let name = place.entry(entry.name_bytes());
            if left.entries == 0 {
                visitor.skipped(&name, "this and what follows lies beyond the most files".to_owned());
                return Ok(false);
            }
            left.entries -= 1;
            if names::entry_problem(entry.name_bytes()).is_some() {
                continue;
            }
            match entry.filemode_raw() & MODE_KIND {
                MODE_TREE if place.depth < names::MAX_DEPTH && visitor.enters(&name) => {
                    let deeper = place.deeper(entry.name_bytes());
                    if !self.walk(&self.tree(entry.id())?, &deeper, (&mut *left, &mut *visitor))? {
                        return Ok(false);
                    }
                }
                MODE_FILE if visitor.wants(&name) => {
                    let is_last = left.total_bytes < left.file_bytes;
                    match self.blob(&name, entry.id(), left.file_bytes.min(left.total_bytes)) {
                        Ok(content) => {
                            left.total_bytes -= content.len() as u64;
                            visitor.file(&name, &content);
                        }
                        Err(TreeError::Told(GitError::TooLarge { .. })) if is_last => {
                            visitor.skipped(
                                &name,
                                "this and what follows lies beyond the most bytes".to_owned(),
                            );
                            return Ok(false);
                        }
                        Err(TreeError::Told(GitError::TooLarge { .. })) => {
                            visitor.skipped(&name, format!("it has more than {} bytes", left.file_bytes));
                        }
                        Err(error) => return Err(error),
                    }
                }
                _ => {}
            }
        }
        Ok(true)
    }
}
