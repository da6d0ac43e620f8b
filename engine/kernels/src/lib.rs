//! engine-kernels
