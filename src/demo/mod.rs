//! The demonstration: a sample internal API, recipients, subjects and scenes, all invented; and the
//! gateway that stands before them.

pub mod expectation;
pub mod people;
mod play;
pub mod scenes;
pub mod setting;
pub mod show;
mod stage;
pub mod subjects;
pub mod template;
pub mod upstream;

use std::io::Write;

use self::scenes::scenes;
use self::stage::Stage;

/// Shows the main job until `ended`, printing lines to paste.
///
/// # Errors
/// In words, for the person who runs it.
pub async fn show(out: &mut (dyn Write + Send), ended: impl Future<Output = ()>) -> Result<(), String> {
    let stage = Stage::set(true).await?;
    let printed = print_scenes(&stage, out);
    if printed.is_ok() {
        ended.await;
    }
    stage.clear().await;
    printed.map_err(|error| error.to_string())
}

fn print_scenes(stage: &Stage, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let access = &stage.player.access;
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
    let stage = Stage::set(false).await?;
    let mut rows = Vec::new();
    for scene in scenes() {
        rows.extend(stage.player.play(&scene).await);
    }
    stage.clear().await;
    writeln!(out, "{}", show::table(&rows)).map_err(|error| error.to_string())?;
    Ok(rows.iter().all(|row| row.wrong.is_none()))
}
