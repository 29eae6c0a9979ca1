//! Tests of the verb that need long documents.

mod large_documents;
