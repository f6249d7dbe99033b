//go:build tools

// Package tools names the command that is built from this module: Helm, which renders and checks the chart.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
