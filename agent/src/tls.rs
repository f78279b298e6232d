//! The one provider of cryptography.

/// Has TLS use ring, the only provider that is linked.
pub(crate) fn use_ring() {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
