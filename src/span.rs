//! OTLP and Tempo: messages, ids, traces.
