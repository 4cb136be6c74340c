//! The Helm chart and the Kustomize component, rendered and held to the schemas of Kubernetes.

use crate::lab::Lab;
use crate::{output, root};

#[test]
fn what_is_rendered_is_valid() {
    let lab = Lab::find();
    let mut python = lab.program("ship/bin/python");
    python.arg(root().join("tests/shipping/kubernetes.py")).arg(root()).arg(lab.path("kubectl/usr/bin/kubectl"));
    assert!(output(&mut python).contains("are valid"));
}
