//! An OpenAPI document and the files that it refers to.

use std::collections::HashMap;

use serde_json::Value;

use crate::cli::error::CliError;

/// The files by their paths. The path of the document itself is empty. References in them begin with the path of a file.
pub(super) struct SpecFiles(HashMap<String, Value>);

impl SpecFiles {
    pub(super) fn new(files: Vec<(String, Value)>) -> SpecFiles {
        SpecFiles(files.into_iter().collect())
    }

    /// Returns the document itself.
    pub(super) fn first(&self) -> &Value {
        self.0.get("").unwrap_or(&Value::Null)
    }

    /// Returns the value that a reference names.
    ///
    /// # Errors
    /// [`CliError::Unusable`] if there is none.
    pub(super) fn target(&self, reference: &str) -> Result<&Value, CliError> {
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
        self.0
            .get(file)
            .and_then(|content| content.pointer(&pointer))
            .ok_or_else(|| CliError::Unusable(format!("the reference `{reference}` leads nowhere")))
    }
}
