//! A kernel with its arguments and the threads that run it.

/// Threads of the blocks that sum over a row: `REDUCERS` in `arithmetic.cuh`.
pub(super) const REDUCERS: usize = 256;

/// An address of memory that the kernel can reach.
pub(crate) type Address = u64;

/// A structure that the kernel takes by value.
///
/// # Safety
/// It is `repr(C)` and has the fields of the structure of the same name in the `.cu` file, in order:
/// [`Address`] for a pointer, and the numbers as they are.
#[allow(unsafe_code)]
pub(crate) unsafe trait Arguments: Copy {}

/// What is to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<A> {
    /// Name of the kernel in the `.cu` files.
    pub(crate) kernel: &'static str,
    /// Blocks of threads across and down; nothing runs where one is 0.
    pub(crate) grid: (usize, usize),
    /// Threads of a block.
    pub(crate) threads: usize,
    /// Shared memory of a block beyond what the kernel declares, in floats.
    pub(crate) shared_floats: usize,
    pub(crate) arguments: A,
}

impl<A> Launch<A> {
    /// A block for each place of the grid.
    pub(super) fn new(
        kernel: &'static str,
        grid: (usize, usize),
        threads: usize,
        arguments: A,
    ) -> Launch<A> {
        Launch { kernel, grid, threads, shared_floats: 0, arguments }
    }
}
