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

/// A matrix whose elements are yet to be written.
pub(crate) struct NewRows {
    elements: Vec<f32>,
    rows: usize,
    width: usize,
}

impl NewRows {
    /// Memory for (rows, width).
    pub(crate) fn new(rows: usize, width: usize) -> NewRows {
        let mut elements = Vec::with_capacity(rows * width);
        if cfg!(debug_assertions) {
            // an element that was forgotten is seen in the results of every test
            elements.resize(rows * width, f32::NAN);
        }
        NewRows { elements, rows, width }
    }

    /// To be written from several threads.
    pub(crate) fn shared(&mut self) -> SharedRows<'_> {
        let start = self.elements.as_mut_ptr();
        SharedRows { start, rows: self.rows, width: self.width, borrowed: PhantomData }
    }

    /// The elements, row by row.
    ///
    /// # Safety
    /// All have been written.
    pub(crate) unsafe fn finish(mut self) -> Vec<f32> {
        // SAFETY: so many were allocated, and the caller vouches that all were written.
        unsafe { self.elements.set_len(self.rows * self.width) };
        self.elements
    }
}

impl SharedRows<'_> {
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
