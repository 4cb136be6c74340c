//! Parses the command line and calls what was asked for.

use std::process::ExitCode;

use clap::CommandFactory;
use streamgauge::delivery::cli::args::{ConfigArgs, ConfigCommand};
use streamgauge::delivery::cli::{self, Cli, Command, output};
use streamgauge::delivery::demo::peer_main;

fn main() -> ExitCode {
    let command = cli::parse().command;
    let done = match command {
        Command::Run(args) => cli::run::main(&args),
        Command::Check(args) => cli::check::main(&args),
        Command::Restore(args) => cli::restore::main(&args),
        Command::Restorable(args) => cli::restorable::main(&args),
        Command::Cost(args) => cli::cost::main(&args),
        Command::Drill(args) => cli::drill::main(&args),
        Command::DrillWorker => cli::drill_worker::main(),
        Command::Healthcheck(args) => cli::healthcheck::main(&args),
        Command::Notify(args) => cli::notify::main(&args),
        Command::Config(ConfigArgs { command: ConfigCommand::Check(args) }) => cli::config_check::main(&args),
        Command::Demo(args) => cli::demo::main(&args),
        Command::DemoPeer(args) => peer_main(&args).map(|()| ExitCode::SUCCESS),
        Command::Metrics(args) => output::print(&(args.format)()).map(|()| ExitCode::SUCCESS),
        Command::Why(args) => cli::why::main(&args),
        Command::Rules(args) => cli::rules::main(&args),
        Command::Dashboards(args) => cli::dashboards::main(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "streamgauge", &mut script);
            output::print(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|reason| {
        output::print_error(&reason);
        // Where the exit code is a verdict this is Nagios's "unknown"; elsewhere it is the usual code of a wrong call.
        ExitCode::from(if cli::gives_verdict() { 3 } else { 2 })
    })
}
