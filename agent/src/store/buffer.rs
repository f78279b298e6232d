//! The bytes of a request in memory.

use std::io;

use bytes::Bytes;
use memmap2::{Advice, MmapMut};

/// From this size on, a buffer is mapped by itself, and given back when nobody needs it. What the allocator gets back it
/// keeps, for each of its threads: with parts of 16 MiB that is more than the parts themselves.
const MAPPED: usize = 256 * 1024;

/// Room for the bytes of one request.
pub(super) enum Buffer {
    Small(Vec<u8>),
    Mapped(MmapMut),
}

impl Buffer {
    /// Room for so many bytes.
    pub(super) fn of(size: u64) -> io::Result<Self> {
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if size < MAPPED {
            return Ok(Self::Small(vec![0; size]));
        }
        let bytes = MmapMut::map_anon(size)?;
        // In large pages where the kernel has them: each small one costs a fault of its own.
        let _ = bytes.advise(Advice::HugePage);
        Ok(Self::Mapped(bytes))
    }

    /// The room.
    pub(super) fn room(&mut self) -> &mut [u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }

    /// All of it, as bytes that are not changed any more.
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Small(bytes) => bytes.into(),
            Self::Mapped(bytes) => Bytes::from_owner(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_were_put_in() {
        for size in [0, 1, MAPPED - 1, MAPPED, MAPPED + 1] {
            let mut buffer = Buffer::of(size.try_into().expect("small")).expect("room");
            assert_eq!(buffer.room().len(), size);
            buffer.room().fill(7);
            assert_eq!(buffer.into_bytes(), vec![7; size]);
        }
    }
}
