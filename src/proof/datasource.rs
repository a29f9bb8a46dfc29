//! datasource: is a change of a Grafana data source additive?
