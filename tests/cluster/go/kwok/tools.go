//go:build tools

// Names the command that is built from this module's pinned dependencies.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
