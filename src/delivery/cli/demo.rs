//! `streamgauge demo`: everything on one machine, in a temporary directory.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use super::args::{DemoArgs, RunArgs, SourceArgs};
use super::runtime::block_on;
use super::sources::Sources;
use super::{logging, output, run};
use crate::delivery::demo::{Demo, FAULTS, Planned};
use crate::domain::reason::Reason;

/// Starts the peer and an agent that watches it, until told to stop.
///
/// # Errors
///
/// When the temporary directory cannot be written or the address is taken.
pub fn main(args: &DemoArgs) -> Result<ExitCode, Reason> {
    let planned = |fault| Planned { fault, after: args.fault_after, lasts: args.fault_for };
    let mut demo = Demo::start(args.fault.as_deref().map(planned))?;
    let sources = Sources::of_run(&RunArgs {
        sources: SourceArgs { config_file: Some(demo.config_file()), litestream_config: Vec::new() },
        web_listen_address: args.web_listen_address.clone(),
        ..RunArgs::default()
    });
    let loaded = sources.read()?;
    logging::init(&loaded.settings.log);
    let greet = |addresses: &[SocketAddr]| {
        // A reader that left does not end the demo.
        let _ = output::print(&greeting(args, &demo, addresses));
    };
    block_on(run::serve(sources, loaded, greet))??;
    demo.stop()?;
    Ok(ExitCode::SUCCESS)
}

fn greeting(args: &DemoArgs, demo: &Demo, addresses: &[SocketAddr]) -> String {
    let mut text = String::new();
    for address in addresses {
        let _ = writeln!(text, "metrics   http://{address}/metrics");
        let _ = writeln!(text, "page      http://{address}/");
        let _ = writeln!(text, "report    http://{address}/api/v1/report");
    }
    let _ = writeln!(text, "database  {} (a writer commits a few times a second)", demo.database().display());
    let _ = writeln!(
        text,
        "replica   {} (written by the demo's own replicator, in Litestream's format)",
        demo.replica().display()
    );
    // Whoever starts this with cargo has no `streamgauge` on the path.
    let program = std::env::current_exe().unwrap_or_else(|_| "streamgauge".into());
    let _ = writeln!(text, "check     {} check --config.file {}", program.display(), demo.config_file().display());
    let fault = FAULTS.iter().find(|fault| args.fault.as_deref() == Some(fault.name));
    if let Some(fault) = fault {
        let lasts = args.fault_for.map_or_else(String::new, |lasts| format!(" for {lasts:?}"));
        let _ = writeln!(text, "fault     after {:?}{lasts}, {}: {}", args.fault_after, fault.does, fault.noticed);
    } else {
        let _ = writeln!(text, "fault     none; --fault breaks something, --help lists the choices");
    }
    text.push_str("stop with Ctrl-C; everything is removed\n");
    text
}
