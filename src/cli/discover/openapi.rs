//! Reads an OpenAPI document and the files below its folder that it refers to.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::read;
use crate::cli::error::CliError;
use crate::discover::openapi::{
    AnnotatedDocument, MAX_DOCUMENT_BYTES, OpenApiDocument, OpenApiError, ReadReferenced, read_files,
};

/// Reads a document with the files that it refers to.
///
/// # Errors
/// [`CliError::Unusable`].
pub(super) fn read_document(file: &Path) -> Result<OpenApiDocument, CliError> {
    with_files_below(file, OpenApiDocument::read)
}

/// Reads a document and the files that it refers to, as JSON values by their paths.
///
/// # Errors
/// [`CliError::Unusable`].
pub(in crate::cli) fn read_json_files(file: &Path) -> Result<Vec<(String, Value)>, CliError> {
    with_files_below(file, read_files)
}

fn with_files_below<T>(
    file: &Path,
    read_with: impl FnOnce(String, &mut dyn ReadReferenced) -> Result<T, OpenApiError>,
) -> Result<T, CliError> {
    let unusable = |error: String| CliError::Unusable(format!("{}: {error}", file.display()));
    let text = String::from_utf8(read(file, MAX_DOCUMENT_BYTES)?)
        .map_err(|_| unusable("it is not UTF-8".to_owned()))?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = parent.canonicalize().map_err(|error| unusable(error.to_string()))?;
    // Standard input has no path.
    let document = file.canonicalize().ok();
    read_with(text, &mut FilesBelow { folder, document }).map_err(|error| unusable(error.to_string()))
}

/// Prints a document with the proposed categories, and a message about fields that could not get theirs.
///
/// # Errors
/// If writing fails.
pub(super) fn annotate(
    document: &OpenApiDocument,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<()> {
    let AnnotatedDocument { text, disputed, unsure } = document.annotate();
    out.write_all(text.as_bytes())?;
    if unsure > 0 {
        writeln!(
            err,
            "purposegate: {unsure} schemas have no `x-data-category`: it would be a guess, and written down it would count as certain"
        )?;
    }
    if disputed > 0 {
        writeln!(
            err,
            "purposegate: {disputed} schemas have no `x-data-category`: operations disagree about them, or they are in another file"
        )?;
    }
    Ok(())
}

/// Reads files below a folder. A link that leads out of it is refused.
struct FilesBelow {
    /// Without links.
    folder: PathBuf,
    /// The path of the document itself, without links. The document can refer to itself by its name.
    document: Option<PathBuf>,
}

impl FilesBelow {
    /// Returns the path of a file without links.
    fn find(&self, path: &str) -> Result<PathBuf, String> {
        if path.is_empty() {
            return self.document.clone().ok_or_else(|| "the document has no path".to_owned());
        }
        let file = self.folder.join(path).canonicalize().map_err(|error| error.to_string())?;
        if !file.starts_with(&self.folder) && Some(&file) != self.document.as_ref() {
            return Err("it is not below the folder of the document".to_owned());
        }
        Ok(file)
    }
}

impl ReadReferenced for FilesBelow {
    fn real_path(&mut self, path: &str) -> Result<String, String> {
        let file = self.find(path)?;
        file.into_os_string().into_string().map_err(|_| "its path is not UTF-8".to_owned())
    }

    fn read(&mut self, path: &str) -> Result<String, String> {
        let file = self.find(path)?;
        // A pipe or a device could keep the reader waiting for ever.
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err("it is no file".to_owned());
        }
        let bytes = read(&file, MAX_DOCUMENT_BYTES).map_err(|error| error.to_string())?;
        String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
    }
}
