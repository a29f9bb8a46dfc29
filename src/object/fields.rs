//! Field ownership: `managedFields` and fieldsV1 sets.
