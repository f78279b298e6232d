#!/usr/bin/env bash
# Installs Kueue on the cluster, runs a command, and removes Kueue again.
# usage: KUEUE=FOLDER run.sh COMMAND [ARGUMENT...]; the folder has Kueue's program and its chart, as `make kueue` builds them
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")

remove() {
    # What it guards with a finalizer goes first, while it can let go of it.
    kubectl delete clusterqueues,resourceflavors,workloads --all --all-namespaces --timeout=60s || true # there are none if it was not installed
    helm uninstall kueue --namespace kueue-system --wait
    kubectl delete namespace kueue-system --timeout=60s
}

echo "installing Kueue"
trap remove EXIT
helm upgrade kueue "$KUEUE/chart" --install --namespace kueue-system --create-namespace --values "$here/values.yaml" --wait --timeout=3m
# Its chart registers them also when they are switched off, and a group of APIs that nobody answers for keeps namespaces from going.
kubectl delete apiservices v1beta1.visibility.kueue.x-k8s.io v1beta2.visibility.kueue.x-k8s.io --ignore-not-found
"$@"
