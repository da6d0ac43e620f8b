//! An output matrix that several threads fill, each its own columns.
#![allow(unsafe_code)]

use std::marker::PhantomData;

/// A row-major matrix whose parts are written from several threads.
pub(crate) struct SharedRows<'a> {
    start: *mut f32,
    rows: usize,
    width: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: the only access is `write`, whose caller vouches that no two threads touch one element.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// `matrix` as rows of `width`.
    pub(crate) fn new(matrix: &'a mut [f32], width: usize) -> SharedRows<'a> {
        assert!(width > 0 && matrix.len().is_multiple_of(width));
        let rows = matrix.len() / width;
        SharedRows { start: matrix.as_mut_ptr(), rows, width, borrowed: PhantomData }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Copies `values` into `row`, from `column` on.
    ///
    /// # Safety
    /// No other thread may write the same elements as long as the matrix is shared.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, row: usize, column: usize, values: &[f32]) {
        assert!(row < self.rows && column + values.len() <= self.width);
        // SAFETY: the assertion keeps the elements inside the matrix, whose mutable borrow `self` holds;
        // the caller keeps other threads away from them; `values` cannot overlap a mutable borrow.
        unsafe {
            let to = self.start.add(row * self.width + column);
            std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len());
        }
    }
}
