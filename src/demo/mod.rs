//! The demonstration: a sample company API, recipients, people and scenes, all invented, and the gateway before them.
//!
//! It needs no configuration and no network beyond this machine, and removes its files at the end.

mod check_table;
mod commands;
mod comparison;
mod config_files;
mod environment;
mod expectation;
mod people;
mod runner;
mod sample_events;
mod scenes;
mod template;
mod text;
mod upstream;

use std::io::{self, Write};

use self::environment::Environment;
use self::scenes::sections;

/// Runs the demonstration until `ended` is ready: prints each step of the start, one record before and after, and
/// commands to paste.
///
/// # Errors
/// In words, for the person at the terminal, if something does not start or the output cannot be written.
pub async fn show(out: &mut (dyn Write + Send), ended: impl Future<Output = ()>) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    writeln!(out, "Starting. Everything runs on this machine, and all people are invented.")
        .map_err(words)?;
    let environment = start(true, out).await?;
    let compared = comparison::compare(&environment.runner).await;
    let printed = compared.and_then(|compared| print(&environment, &compared, out).map_err(words));
    if printed.is_ok() {
        ended.await;
    }
    environment.stop().await;
    printed
}

/// Starts the environment, and prints each step when it begins.
async fn start(fixed_ports: bool, out: &mut (dyn Write + Send)) -> Result<Environment, String> {
    let mut progress = |step: &str| {
        // If this cannot be written, the next output fails and is reported.
        let _ = writeln!(out, "  {step} …");
        let _ = out.flush();
    };
    Environment::start(fixed_ports, &mut progress).await
}

fn print(environment: &Environment, compared: &str, out: &mut dyn Write) -> io::Result<()> {
    let access = &environment.runner.access;
    writeln!(out, "\nReady. Ctrl-C ends it and removes its files.")?;
    writeln!(out, "  gateway        {}", access.gateway)?;
    writeln!(out, "  admin API      {}", access.admin)?;
    writeln!(out, "  console        {}/", access.admin)?;
    writeln!(out, "  company API    {}", access.api)?;
    writeln!(out, "  configuration  {}", access.configuration)?;
    heading("One record, before and after", out)?;
    writeln!(out, "The company API answers everybody with the whole record. Through the gateway,")?;
    writeln!(out, "two recipients receive what the policy permits for the purpose they declare.")?;
    writeln!(out, "A hyphen is a field that the recipient does not receive.\n")?;
    write!(out, "{compared}")?;
    heading("Requests to paste", out)?;
    writeln!(out, "In another terminal, set these variables once. Then paste any command below.")?;
    writeln!(out, "In brackets: the clauses of the sample policy that a response keeps.\n")?;
    write!(out, "{}", access.variables())?;
    for section in sections() {
        heading(section.heading, out)?;
        let scenes: Vec<String> = section.scenes.iter().map(commands::scene_text).collect();
        write!(out, "{}", scenes.join("\n"))?;
    }
    out.flush()
}

/// Prints an underlined heading.
fn heading(text: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{text}\n{}\n", "-".repeat(text.len()))
}

/// Sends the requests of every scene and prints a table of expected and received responses to `out`, and the steps of
/// the start to `err`. Returns true if all responses are as expected.
///
/// # Errors
/// In words, for the person at the terminal, if something does not start or the output cannot be written.
pub async fn check(out: &mut (dyn Write + Send), err: &mut (dyn Write + Send)) -> Result<bool, String> {
    let environment = start(false, err).await?;
    // As in `start`.
    let _ = writeln!(err, "  sending the requests …");
    let mut rows = Vec::new();
    for scene in sections().into_iter().flat_map(|section| section.scenes) {
        rows.extend(environment.runner.run(&scene).await);
    }
    environment.stop().await;
    write!(out, "{}", check_table::table(&rows)).map_err(|error| error.to_string())?;
    Ok(rows.iter().all(|row| row.failure.is_none()))
}
