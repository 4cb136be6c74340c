//! OpenMetrics 1.0 text turned into Prometheus's text format 0.0.4, for every client that prefers that.
//!
//! Bytes of the one are not bytes of the other: Prometheus refuses a `# TYPE … info` that is served as 0.0.4. The
//! families of this program have no exemplars and no units that 0.0.4 could keep, so names and types are all that changes.

/// Rewrites an exposition of [`openmetrics`](super::openmetrics). Samples are the same in both formats.
pub fn to_text(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    // HELP comes before TYPE and its name depends on the type.
    let mut help: Option<&str> = None;
    for line in openmetrics.split_inclusive('\n') {
        let Some(comment) = line.strip_prefix("# ") else {
            out.push_str(line);
            continue;
        };
        match comment.split_once(' ') {
            Some(("HELP", rest)) => help = Some(rest),
            Some(("TYPE", rest)) => {
                let rest = rest.trim_end();
                let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    other => ("", other),
                };
                if let Some((_, text)) = help.take().and_then(|help| help.split_once(' ')) {
                    out.extend(["# HELP ", name, suffix, " ", text]);
                }
                out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            }
            // UNIT and EOF are words of OpenMetrics only.
            _ => {}
        }
    }
    out
}
