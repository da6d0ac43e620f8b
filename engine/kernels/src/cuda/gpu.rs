//! Compiling kernels and running them on a device.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{
    CudaView, DevicePtrMut, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::{
    CompileError, CompileOptions, compile_ptx_with_opts,
};
use candle_core::cuda_backend::{CudaDType, CudaStorage};
use candle_core::{CudaDevice, Error, Layout, Result, bail};

use super::launch::{Address, Arguments, Launch};
use super::{ARITHMETIC, KERNELS};

/// The words that kernels are written in.
const GPU: &str = include_str!("gpu.cuh");

/// Where Candle keeps the compiled kernels of a device.
const MODULE: &str = "hanse";

/// The elements of a contiguous tensor.
pub(super) fn contiguous<'a, T: CudaDType>(
    op: &'static str,
    storage: &'a CudaStorage,
    layout: &Layout,
) -> Result<CudaView<'a, T>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("{op}: the tensor {:?} is not contiguous", layout.shape())
    };
    Ok(storage.as_cuda_slice::<T>()?.slice(start..end))
}

/// A new tensor of `count` floats, all of which `write` fills.
pub(super) fn output(
    device: &CudaDevice,
    count: usize,
    write: impl FnOnce(Address) -> Result<()>,
) -> Result<CudaStorage> {
    let stream = device.cuda_stream();
    // SAFETY: floats of any bits are floats, and `write` fills them before anyone reads. The driver
    // gives no memory of no bytes, hence one element at least.
    let mut out = unsafe { device.alloc::<f32>(count.max(1))? };
    {
        let (address, _written) = out.device_ptr_mut(&stream);
        write(address)?;
    }
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}

/// Arguments as the driver takes them.
#[repr(transparent)]
struct ByValue<A>(A);

// SAFETY: `Arguments` are plain numbers in the kernel's own layout.
unsafe impl<A: Arguments> DeviceRepr for ByValue<A> {}

/// Queues a launch on the device's stream.
///
/// # Safety
/// The addresses among the arguments lead to as many elements as the kernel reads or writes with this
/// grid, on this device, and stay valid until the stream has passed the launch.
pub(super) unsafe fn run<A: Arguments>(device: &CudaDevice, launch: Launch<A>) -> Result<()> {
    /// The driver's bound for blocks down; across it is 2^31 - 1.
    const DOWN_MAX: usize = 65_535;

    let Launch { kernel, grid: (across, down), threads, shared_floats, arguments } = launch;
    if across == 0 || down == 0 {
        return Ok(());
    }
    if across > i32::MAX as usize || down > DOWN_MAX {
        bail!("{kernel}: a grid of {across} x {down} blocks is beyond what a GPU takes")
    }
    let function = device.get_or_load_custom_func(kernel, MODULE, &compiled(device)?)?;
    let arguments = ByValue(arguments);
    let mut builder = function.builder();
    builder.arg(&arguments);
    let config = LaunchConfig {
        grid_dim: (across as u32, down as u32, 1),
        block_dim: (threads as u32, 1, 1),
        shared_mem_bytes: (shared_floats * size_of::<f32>()) as u32,
    };
    // SAFETY: the kernel takes this structure; the caller vouches for the memory.
    unsafe { builder.launch(config) }.map_err(Error::wrap)?;
    Ok(())
}

/// The kernels as PTX for the device's compute capability; compiled once a process.
fn compiled(device: &CudaDevice) -> Result<Arc<str>> {
    static COMPILED: Mutex<BTreeMap<(i32, i32), Arc<str>>> = Mutex::new(BTreeMap::new());

    let stream = device.cuda_stream();
    let (major, minor) = stream.context().compute_capability().map_err(Error::wrap)?;
    // a panic elsewhere leaves the map whole: an entry is made in one step
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ptx) = compiled.get(&(major, minor)) {
        return Ok(ptx.clone());
    }
    let options = CompileOptions {
        ftz: Some(false),
        prec_sqrt: Some(true),
        prec_div: Some(true),
        fmad: Some(false),
        options: vec![format!("--gpu-architecture=compute_{major}{minor}")],
        name: Some("hanse.cu".into()),
        ..CompileOptions::default()
    };
    let source = [GPU, ARITHMETIC, KERNELS].concat();
    let ptx = compile_ptx_with_opts(source, options).map_err(refused)?;
    let ptx: Arc<str> = ptx.to_src().into();
    compiled.insert((major, minor), ptx.clone());
    Ok(ptx)
}

/// NVRTC's own words, which `CompileError` hides among others.
fn refused(error: CompileError) -> Error {
    match error {
        CompileError::CompileError { log, .. } => {
            Error::msg(format!("NVRTC refuses the kernels: {}", log.to_string_lossy()))
        }
        other => Error::wrap(other),
    }
}
