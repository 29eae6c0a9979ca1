//! The demonstration: a sample internal API, recipients, subjects and scenes, all invented; and the
//! gateway that stands before them.

pub mod config_files;
mod environment;
pub mod expectation;
pub mod people;
pub mod render;
mod runner;
pub mod sample_events;
pub mod scenes;
pub mod template;
pub mod upstream;

use std::io::Write;

use self::environment::Environment;
use self::scenes::scenes;

/// Shows the main job until `ended`, printing lines to paste.
///
/// # Errors
/// In words, for the person who runs it.
pub async fn show(out: &mut (dyn Write + Send), ended: impl Future<Output = ()>) -> Result<(), String> {
    let stage = Environment::start(true).await?;
    let printed = print_scenes(&stage, out);
    if printed.is_ok() {
        ended.await;
    }
    stage.stop().await;
    printed.map_err(|error| error.to_string())
}

fn print_scenes(stage: &Environment, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let access = &stage.runner.access;
    writeln!(out, "The gateway is at {}, its admin listener at {}.", access.gateway, access.admin)?;
    writeln!(
        out,
        "The sample API behind it is at {}, the configuration {}.",
        access.api, access.configuration
    )?;
    writeln!(out, "Paste a line into another terminal. Ctrl-C ends it all.\n")?;
    for scene in scenes() {
        writeln!(out, "{}", access.scene(&scene))?;
    }
    out.flush()
}

/// Plays every scene and prints what was expected and what came. Whether all was as expected.
///
/// # Errors
/// In words, for the person who runs it.
pub async fn check(out: &mut (dyn Write + Send)) -> Result<bool, String> {
    let stage = Environment::start(false).await?;
    let mut rows = Vec::new();
    for scene in scenes() {
        rows.extend(stage.runner.run(&scene).await);
    }
    stage.stop().await;
    writeln!(out, "{}", render::table(&rows)).map_err(|error| error.to_string())?;
    Ok(rows.iter().all(|row| row.failure.is_none()))
}
