//! `completions` and `man`: files for shells and for `man`, made from the command line itself.

use std::io::{self, Write};
use std::path::Path;

use clap_complete::Shell;

/// The name of the program in completions.
const PROGRAM: &str = "purposegate";

/// Prints the completions of a shell.
///
/// # Errors
/// If writing fails.
pub(super) fn print_completions(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), PROGRAM, &mut script);
    out.write_all(&script)
}

/// Writes a manual page for the program and for each verb into a folder, which is created.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write_manual(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(super::command(), folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_know_the_verbs_and_their_options() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            print_completions(shell, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            for word in ["consent", "withdraw", "token-file"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn each_verb_has_a_manual_page_with_its_examples() {
        let folder = tempfile::tempdir().unwrap();
        let man = folder.path().join("man");
        write_manual(&man).unwrap();
        let page = |name: &str| std::fs::read_to_string(man.join(name)).unwrap();
        assert!(page("purposegate.1").contains("PURPOSEGATE_LOG"));
        let consent = page("purposegate-consent-withdraw.1");
        assert!(consent.contains(r"purposegate consent withdraw 42 product\-news"), "{consent}");
    }
}
