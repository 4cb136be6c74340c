//! Parses the command line and calls what was asked for.

use std::process::ExitCode;

use clap::CommandFactory;
use streamgauge::delivery::cli::{self, Cli, Command, MetricsFormat, output};
use streamgauge::delivery::render::metrics::catalogue;
use streamgauge::domain::reason::{Reason, ReasonKind};

fn main() -> ExitCode {
    let done = match cli::parse().command {
        Command::Run(_) => Err(not_wired("run")),
        Command::Check(_) => Err(not_wired("check")),
        Command::Config(_) => Err(not_wired("config check")),
        Command::Demo(_) => Err(not_wired("demo")),
        Command::Metrics(args) => output::print(&match args.format {
            MetricsFormat::Table => catalogue::table(),
            MetricsFormat::Markdown => catalogue::markdown(),
            MetricsFormat::Json => catalogue::json(),
        })
        .map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "streamgauge", &mut script);
            output::print(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|reason| {
        output::print_error(&reason);
        ExitCode::from(2)
    })
}

fn not_wired(command: &str) -> Reason {
    Reason::new(ReasonKind::Unsupported, format!("{command}: not wired yet"))
}
