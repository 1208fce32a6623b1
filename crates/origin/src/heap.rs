//! How the C library's allocator keeps what is freed.
//!
//! By default glibc gives the end of a heap back as soon as it is a few megabytes, and takes it again for the next segments: page by page, each
//! cleared by the system. With full windows that was a seventh of all CPU time; leaving it be costs 6 % of memory.

/// Before any thread begins. Where somebody has set the allocator themselves, it stays as they have it (mallopt(3)).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep() {
    /// Blocks above this are mapped by themselves, and unmapped when they are freed: far above a segment.
    const MAPPED_BYTES_MIN: i32 = 4 << 20;
    /// The free end of a heap that is given back. What a crowd leaves goes back in any case (`http::crowd`).
    const TRIMMED_BYTES_MIN: i32 = 16 << 20;
    const VARIABLES: [&str; 3] = ["GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"];

    if VARIABLES.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    // SAFETY: both take numbers, and there is no second thread yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIMMED_BYTES_MIN);
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep() {}
