//! Which instruction set runs a kernel.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Lanes, Scalar};

/// An instruction set that the kernels are compiled for. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// AVX-512 F, BW, VL with VNNI.
    Avx512,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// What the compilation target guarantees.
    Scalar,
}

impl Path {
    /// The best path of this CPU; found out once.
    pub fn best() -> Path {
        static BEST: OnceLock<Path> = OnceLock::new();
        *BEST.get_or_init(|| Path::available()[0])
    }

    /// The paths of this CPU, best first; the last is [`Path::Scalar`].
    pub fn available() -> Vec<Path> {
        [Path::Avx512, Path::Avx2, Path::Scalar]
            .into_iter()
            .filter(|path| path.is_available())
            .collect()
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        match self {
            Path::Avx512 => {
                avx2 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            Path::Avx2 => avx2,
            Path::Scalar => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Path::Scalar
    }
}

/// A piece of work that is written once and compiled for every path.
///
/// `run` must be `#[inline(always)]`, and so must all that it calls in its hot loops: only what is
/// inlined into the function with the target features is compiled with them.
pub(crate) trait Kernel {
    fn run<L: Lanes>(self, lanes: L);
}

/// Runs `kernel` with the instructions of `path`.
///
/// # Panics
/// If this CPU lacks the path.
pub(crate) fn launch(path: Path, kernel: impl Kernel) {
    match path {
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => {
            let lanes = Avx512::detect().expect("the path is available");
            // SAFETY: `detect` found every feature that the function enables.
            #[allow(unsafe_code)]
            unsafe {
                launch_avx512(lanes, kernel);
            }
        }
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => {
            let lanes = Avx2::detect().expect("the path is available");
            // SAFETY: `detect` found every feature that the function enables.
            #[allow(unsafe_code)]
            unsafe {
                launch_avx2(lanes, kernel);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Path::Avx512 | Path::Avx2 => panic!("the path is available"),
        Path::Scalar => kernel.run(Scalar),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
fn launch_avx512(lanes: Avx512, kernel: impl Kernel) {
    kernel.run(lanes);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn launch_avx2(lanes: Avx2, kernel: impl Kernel) {
    kernel.run(lanes);
}

impl Path {
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has(self) -> bool {
        static AVAILABLE: OnceLock<[bool; 3]> = OnceLock::new();
        let all = [Path::Avx512, Path::Avx2, Path::Scalar];
        AVAILABLE.get_or_init(|| all.map(Path::is_available))[self as usize]
    }
}
