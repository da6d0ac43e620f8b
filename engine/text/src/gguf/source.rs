//! Bytes of a file whose length is known.

use std::io::Read;

use super::GgufError;

/// Most bytes that metadata and tensor table may take together. The largest vocabularies in
/// use need about 15 MB.
const HEAD_BYTES_MAX: u64 = 1 << 27;

/// Reads forward and knows where it is.
pub struct Source<R> {
    input: R,
    offset: u64,
    /// Where the field that was read last begins.
    field: u64,
    length: u64,
}

impl<R: Read> Source<R> {
    /// `length` is the file's, in bytes.
    pub fn new(input: R, length: u64) -> Self {
        Self { input, offset: 0, field: 0, length }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The file's length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fails unless `bytes` more are there.
    pub fn require(&self, what: &str, bytes: u64) -> Result<(), GgufError> {
        if bytes > self.length.saturating_sub(self.offset) {
            let (what, offset, length) = (what.to_owned(), self.offset, self.length);
            return Err(GgufError::Truncated { what, offset, needs: bytes, length });
        }
        let end = self.offset.saturating_add(bytes);
        self.limit("bytes before the weights", end, HEAD_BYTES_MAX)
    }

    /// Fails where `value`, which was read last, is over `limit`.
    pub fn limit(&self, what: &str, value: u64, limit: u64) -> Result<(), GgufError> {
        if value > limit {
            let (what, offset) = (what.to_owned(), self.field);
            return Err(GgufError::TooLarge { what, offset, value, limit });
        }
        Ok(())
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        self.require(what, N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// A 32-bit number.
    pub fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A 64-bit number.
    pub fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, what: &str, count: u64) -> Result<Vec<u8>, GgufError> {
        self.require(what, count)?;
        let mut bytes = vec![0; count as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// A text with its length before it.
    pub fn text(&mut self, what: &str, bytes_max: u64) -> Result<String, GgufError> {
        let start = self.offset;
        let length = self.u64(what)?;
        self.limit(what, length, bytes_max)?;
        let bytes = self.bytes(what, length)?;
        String::from_utf8(bytes)
            .map_err(|_| GgufError::NotUtf8 { what: what.to_owned(), offset: start })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), GgufError> {
        let offset = self.offset;
        self.input.read_exact(bytes).map_err(|source| GgufError::Read { offset, source })?;
        self.field = offset;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}
