//! What agents have to know of how the operator was installed.

/// What agents have to know of how the operator was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// The image with the agent.
    pub image: String,
    /// Where reports are posted; none where the operator takes none.
    pub reports: Option<ReportServer>,
}

/// Where reports are posted; by default, at no address that a network has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportServer {
    /// The addresses of the operator, the best one first.
    pub addresses: Vec<String>,
    /// The certificate authority of its certificate, as PEM.
    pub certificate_authority: String,
}
