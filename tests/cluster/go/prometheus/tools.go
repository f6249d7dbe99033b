//go:build tools

// Names the command that is built from this module's pinned dependencies.
package tools

import _ "github.com/prometheus/prometheus/cmd/prometheus"
