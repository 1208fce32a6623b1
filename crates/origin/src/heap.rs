//! How the C library's allocator keeps what is freed.
//!
//! By default glibc gives the end of a heap back as soon as it is a few megabytes, and takes it again for the next segments: page by page, each
//! cleared by the system. With full windows that was a seventh of all CPU time; leaving it be costs 6 % of memory.
//!
//! And by default each thread allocates from a heap of its own, while a stream's task goes from thread to thread: what one heap has free is of no
//! use to the other, and each of them grows to what the stream may hold.

/// Before any thread begins. Where somebody has set the allocator themselves, it stays as they have it (mallopt(3)).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep() {
    /// Blocks above this are mapped by themselves, and unmapped when they are freed: far above a segment.
    const MAPPED_BYTES_MIN: i32 = 4 << 20;
    /// The free end of a heap that is given back. What a crowd leaves goes back in any case (`http::crowd`).
    const TRIMMED_BYTES_MIN: i32 = 16 << 20;
    /// Cores that share a heap: its lock is taken for what is larger than a kilobyte, some twenty times for a stream's second.
    const CORES_PER_HEAP: usize = 8;
    const ENDS: [&str; 3] = ["GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"];
    const HEAPS: [&str; 2] = ["GLIBC_TUNABLES", "MALLOC_ARENA_MAX"];

    let is_set = |names: &[&str]| names.iter().any(|name| std::env::var_os(name).is_some());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let heaps = i32::try_from(cores.div_ceil(CORES_PER_HEAP)).unwrap_or(1);
    // SAFETY: all take numbers, and there is no second thread yet.
    unsafe {
        if !is_set(&ENDS) {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
            libc::mallopt(libc::M_TRIM_THRESHOLD, TRIMMED_BYTES_MIN);
        }
        if !is_set(&HEAPS) {
            libc::mallopt(libc::M_ARENA_MAX, heaps);
        }
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep() {}
