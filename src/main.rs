//! The `rouse` command.

/// A third of what a notification cost the server was spent in the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rouse::cli::run()
}
