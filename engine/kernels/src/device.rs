//! What a partition computes on.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use candle_core::Device;

/// The name of a device, as operators write it: `cpu`, or `cuda:0` for the first GPU that the process
/// sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceName {
    /// The processor.
    #[default]
    Cpu,
    /// A GPU by its number among those that `CUDA_VISIBLE_DEVICES` leaves.
    Cuda(u32),
}

/// A device cannot be named or used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No device is called that.
    #[error("unknown device {name:?}: it is `cpu`, or `cuda:0` for the first GPU")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The kernels for it were not compiled.
    #[error("this build has no kernels for {name}; build it with `--features cuda`")]
    NotBuilt {
        /// What was asked for.
        name: DeviceName,
    },
    /// The driver refuses it.
    #[error("open {name}")]
    Open {
        /// What was asked for.
        name: DeviceName,
        /// What the driver says.
        #[source]
        source: Box<candle_core::Error>,
    },
}

impl DeviceName {
    /// The device itself, opened once a process. A GPU gets a stream of its own, on which everything
    /// runs in order, whatever thread it comes from.
    pub fn open(self) -> Result<Device, DeviceError> {
        static OPEN: Mutex<BTreeMap<u32, Device>> = Mutex::new(BTreeMap::new());

        match self {
            DeviceName::Cpu => Ok(Device::Cpu),
            DeviceName::Cuda(_) if !cfg!(feature = "cuda") => {
                Err(DeviceError::NotBuilt { name: self })
            }
            DeviceName::Cuda(number) => {
                // a panic elsewhere leaves the map whole: an entry is made in one step
                let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(device) = open.get(&number) {
                    return Ok(device.clone());
                }
                let device = Device::new_cuda_with_stream(number as usize)
                    .map_err(|source| DeviceError::Open { name: self, source: Box::new(source) })?;
                open.insert(number, device.clone());
                Ok(device)
            }
        }
    }

    /// What the variable `HANSE_DEVICE` names, `cpu` without it: for tests, so that one command runs
    /// them on a GPU.
    pub fn of_tests() -> Result<DeviceName, DeviceError> {
        match std::env::var("HANSE_DEVICE") {
            Ok(name) => name.parse(),
            Err(std::env::VarError::NotPresent) => Ok(DeviceName::Cpu),
            Err(std::env::VarError::NotUnicode(name)) => {
                Err(DeviceError::Unknown { name: name.to_string_lossy().into_owned() })
            }
        }
    }
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<DeviceName, DeviceError> {
        let number = name.strip_prefix("cuda:").filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        match (name, number.and_then(|number| number.parse().ok())) {
            ("cpu", _) => Ok(DeviceName::Cpu),
            (_, Some(number)) => Ok(DeviceName::Cuda(number)),
            _ => Err(DeviceError::Unknown { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Cpu => f.write_str("cpu"),
            DeviceName::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_come_back_as_they_were() {
        for name in ["cpu", "cuda:0", "cuda:7"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "CPU", "cuda", "cuda:", "cuda:+1", "cuda:-1", "cuda:4294967296", "mps"] {
            let message = name.parse::<DeviceName>().unwrap_err().to_string();
            let expected = "it is `cpu`, or `cuda:0` for the first GPU";
            assert_eq!(message, format!("unknown device {name:?}: {expected}"));
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_the_kernels_says_so() {
        assert_eq!(
            DeviceName::Cuda(0).open().unwrap_err().to_string(),
            "this build has no kernels for cuda:0; build it with `--features cuda`"
        );
    }
}
