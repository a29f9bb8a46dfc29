//! The binary: parse, run, exit code; nothing else.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(firstlight::cli::main())
}
