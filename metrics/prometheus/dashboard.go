package prometheus

import _ "embed"

// Dashboard is a dashboard of Grafana's, as its "Import" takes it, or its provisioning:
// it asks for the Prometheus data source, and shows what NewCollector exports.
//
//go:embed dashboard.json
var Dashboard []byte
