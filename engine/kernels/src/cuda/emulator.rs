//! The kernels on this machine's CPU: compiled by `cc`, called as a grid of threads.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::launch::{Arguments, Launch};
use super::{ARITHMETIC, KERNELS};

/// The words that kernels are written in.
const EMULATOR: &str = include_str!("emulator/emulator.h");

// SAFETY: what its caller must see to is said at `run`.
type Kernel = unsafe extern "C" fn(*const c_void);
// SAFETY: as above.
type Emulate = unsafe extern "C" fn(Kernel, *const c_void, u32, u32, u32, u32);

// SAFETY: POSIX's own signatures.
unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

/// A handle of `dlopen`, which any thread may use.
struct Library(*mut c_void);
// SAFETY: `dlsym` takes the handle from any thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    fn symbol(&self, name: &str) -> *mut c_void {
        let text = CString::new(name).unwrap();
        // SAFETY: the handle is never closed, and the name ends with a zero.
        let symbol = unsafe { dlsym(self.0, text.as_ptr()) };
        assert!(!symbol.is_null(), "there is no kernel {name}");
        symbol
    }
}

/// Compiles the kernels; once a process.
fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let directory = scratch();
        let (source, object) = (directory.join("kernels.c"), directory.join("kernels.so"));
        std::fs::write(&source, [EMULATOR, ARITHMETIC, KERNELS].concat()).unwrap();
        let mut compiler = Command::new("cc");
        compiler
            .args(["-std=gnu11", "-O2", "-shared", "-fPIC", "-ffp-contract=off", "-fno-fast-math"])
            // `longjmp` between stacks is what the emulator is made of
            .args(["-U_FORTIFY_SOURCE", "-Wall", "-Wno-parentheses", "-Werror"])
            .args(["-Wno-unused-function"])
            .arg("-o")
            .arg(&object)
            .arg(&source)
            .arg("-lm");
        let output = compiler.output().expect("the tests need a C compiler named cc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = CString::new(object.to_str().unwrap()).unwrap();
        // SAFETY: the library has no constructors; 2 is RTLD_NOW.
        let handle = unsafe { dlopen(path.as_ptr(), 2) };
        // SAFETY: after a failure this is a message that ends with a zero.
        assert!(!handle.is_null(), "{:?}", unsafe { CStr::from_ptr(dlerror()) });
        std::fs::remove_dir_all(&directory).unwrap();
        Library(handle)
    })
}

/// A directory that no other process has.
fn scratch() -> PathBuf {
    let name = format!("hanse-kernels-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Runs a launch to its end. Its addresses are those of this process.
///
/// # Safety
/// They lead to as many elements as the kernel reads or writes with this grid.
pub(super) unsafe fn run<A: Arguments>(launch: Launch<A>) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    let library = library();
    // SAFETY: the symbols are functions of these types: see `emulator.h`.
    let (kernel, emulate) = unsafe {
        (
            std::mem::transmute::<*mut c_void, Kernel>(library.symbol(launch.kernel)),
            std::mem::transmute::<*mut c_void, Emulate>(library.symbol("emulate")),
        )
    };
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (across, down) = (launch.grid.0 as u32, launch.grid.1 as u32);
    let (threads, shared) = (launch.threads as u32, launch.shared_floats as u32);
    let arguments = (&raw const launch.arguments).cast();
    // SAFETY: the arguments have the kernel's layout, the caller vouches for the addresses.
    unsafe { emulate(kernel, arguments, across, down, threads, shared) }
}
