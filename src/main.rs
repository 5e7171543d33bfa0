//! The `rouse` command.

/// A fifth of what a notification cost the server was spent in the system's allocator. Without huge pages, which made the same
/// load take 90 MB in place of 45.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rouse::cli::run()
}
