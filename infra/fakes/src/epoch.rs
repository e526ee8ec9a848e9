//! What came before a reset, told from what came after.

/// A number that changes with every reset. A request or webhook from before a reset must not touch what comes after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(u64);

impl Epoch {
    /// What is still under way belongs to another.
    pub fn end(&mut self) {
        self.0 += 1;
    }
}
