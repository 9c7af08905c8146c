//go:build tools

// Package tools names the Kubernetes programs that `make test-cluster` builds where a machine has none.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
