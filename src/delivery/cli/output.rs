//! Standard output and standard error, for readers that may go away and terminals that may have no colours.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;

use crate::delivery::render::terminal::UNCUT;
use crate::domain::printable::printable;
use crate::domain::reason::Reason;
use crate::infrastructure::files::beside;

/// Writes to standard output. A reader that has had enough (`| head`) is no error.
///
/// # Errors
///
/// When the output cannot be written for any other reason, such as a full disk.
pub fn print(text: &str) -> Result<(), Reason> {
    write_to(&mut std::io::stdout().lock(), text)
}

/// Writes to a file, beside its name first, so that a reader never sees half of it. What is no plain file is written as it is.
///
/// # Errors
///
/// When it cannot be written.
pub fn replace(path: &Path, text: &str) -> Result<(), Reason> {
    let failed = |error: std::io::Error| Reason::from(error).context(format!("write {}", path.display()));
    // Behind a link is what readers open.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return std::fs::write(path, text).map_err(failed);
    }
    // Another run may be at the same point, and one that was killed may have left a file.
    let new = beside(path, &format!(".{}.new", std::process::id()));
    let _ = std::fs::remove_file(&new);
    let written = std::fs::File::create_new(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    });
    written.map_err(|error| {
        let _ = std::fs::remove_file(&new);
        failed(error)
    })
}

/// A path as it can be typed into a shell.
pub fn typed(path: &Path) -> String {
    let text = printable(&path.display().to_string());
    if is_plain(&text) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A shell takes the text as it stands.
pub fn is_plain(text: &str) -> bool {
    let usual = |character: char| character.is_ascii_alphanumeric() || "._/-:+@%,".contains(character);
    !text.is_empty() && text.chars().all(usual)
}

fn write_to(out: &mut impl Write, text: &str) -> Result<(), Reason> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Reason::from(error).context("write standard output"))
        }
        _ => Ok(()),
    }
}

/// Says on standard error why the program ends, and what can be done about it.
pub fn print_error(reason: &Reason) {
    // A reason may have several lines, each of which may name a file that somebody else has named.
    let mut text = String::new();
    for line in reason.to_string().lines() {
        // Warnings that explain an error are behind it.
        let word = if line.starts_with("warning: ") { "" } else { "error: " };
        text.extend([word, &printable(line), "\n"]);
    }
    if let Some(hint) = &reason.hint {
        text.extend(["hint: ", &hint.lines().map(printable).collect::<Vec<_>>().join("\n"), "\n"]);
    }
    say(&text);
}

/// Writes to standard error, which may be gone.
pub fn say(text: &str) {
    let mut out = std::io::stderr().lock();
    // There is nowhere left to complain to.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Whether standard output is to be coloured: on a terminal that can, unless `NO_COLOR` says no (no-color.org).
pub fn colour() -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_colour && is_capable(&std::io::stdout())
}

/// Whether a line of standard error can be drawn again.
pub fn redraws() -> bool {
    is_capable(&std::io::stderr())
}

fn is_capable(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Columns where nobody says how many there are.
pub const WIDTH: usize = 80;

/// Fewer columns than anybody has.
const NARROWEST: usize = 40;

/// Columns of the terminal, or [`WIDTH`].
pub fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= NARROWEST).unwrap_or(WIDTH)
}

/// Columns that lines may take, 40 or more: what is read later, or by a program, is cut for no terminal, unless `COLUMNS` says
/// for which. `printed`: it goes to standard output.
pub fn room(printed: bool) -> usize {
    let columns = match printed && std::io::stdout().is_terminal() {
        true => Some(width()),
        false => std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()),
    };
    columns.map_or(UNCUT, |columns| columns.max(NARROWEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails as told.
    struct Closed(ErrorKind);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_reader_that_left_is_forgiven() {
        assert_eq!(write_to(&mut Closed(ErrorKind::BrokenPipe), "x"), Ok(()));
        let full = write_to(&mut Closed(ErrorKind::StorageFull), "x").expect_err("full");
        assert_eq!(full.to_string(), "write standard output: no storage space");
    }
}
