//! The certificates of the report server: an authority that agents trust, and leaves that the leader makes from it.

use std::sync::Arc;

use jiff::{Span, Timestamp, tz::TimeZone};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tracing::{info, warn};

use crate::{
    contract::agent::SERVER_NAME,
    runtime::{call::call, error::Error},
};

/// Where the authority stands in its Secret.
const CERTIFICATE: &str = "tls.crt";
/// Where its key stands.
const KEY: &str = "tls.key";
/// How long the authority is good for, in years.
const YEARS: i64 = 10;
/// How long a leaf is good for, in days.
const LEAF_DAYS: i64 = 7;

/// The authority.
pub(crate) struct Certificates {
    /// As PEM: what agents trust.
    pub(crate) authority: String,
    key: KeyPair,
}

/// Certificates cannot be made. None of the causes depends on the cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotCertify {
    /// A certificate cannot be made or read.
    #[error("make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// TLS cannot be set up with it.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
}

impl Certificates {
    /// A new authority, in memory.
    pub(crate) fn generate(now: Timestamp) -> Result<Self, CannotCertify> {
        let key = KeyPair::generate()?;
        let authority = authority_params(now).self_signed(&key)?.pem();
        Ok(Self { authority, key })
    }

    /// The authority in a Secret, or a new one, which is put there. Without the Secret the authority is in memory only: the
    /// next operator has another one, and running pods fall back to their last words.
    pub(crate) async fn in_secret(secrets: &Api<Secret>, name: &str, now: Timestamp) -> Result<Self, CannotCertify> {
        match kept(secrets, name, now).await {
            Ok(certificates) => certificates,
            Err(error) => {
                warn!(%error, secret = name, "the certificate authority of reports is kept in memory only");
                Self::generate(now)
            }
        }
    }

    fn read(secret: &Secret) -> Option<Self> {
        let data = secret.data.as_ref()?;
        let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        Some(Self { authority: text(CERTIFICATE)?, key: KeyPair::from_pem(&text(KEY)?).ok()? })
    }

    /// TLS with a new leaf.
    pub(crate) fn server_config(&self, now: Timestamp) -> Result<Arc<ServerConfig>, CannotCertify> {
        let leaf_key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, SERVER_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        limit(&mut params, now, LEAF_DAYS);
        // The name and the key of an issuer are all that a leaf has of it.
        let issuer = Issuer::new(authority_params(now), &self.key);
        let leaf = params.signed_by(&leaf_key, &issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)?;
        // Agents keep their sessions themselves: a server's memory of them would be too small for thousands.
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }
}

async fn kept(secrets: &Api<Secret>, name: &str, now: Timestamp) -> Result<Result<Certificates, CannotCertify>, Error> {
    // Twice: another operator may fill it at the same time.
    for _ in 0..2 {
        let mut secret = call("read the Secret of the certificate authority", secrets.get(name)).await?;
        if let Some(certificates) = Certificates::read(&secret) {
            return Ok(Ok(certificates));
        }
        let certificates = match Certificates::generate(now) {
            Ok(certificates) => certificates,
            Err(error) => return Ok(Err(error)),
        };
        let data = [(CERTIFICATE, certificates.authority.clone()), (KEY, certificates.key.serialize_pem())];
        let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
        secret.data.get_or_insert_default().extend(data);
        let written =
            call("write the certificate authority", secrets.replace(name, &PostParams::default(), &secret)).await;
        match written {
            Ok(_) => {
                info!(secret = name, "a certificate authority for reports was made");
                return Ok(Ok(certificates));
            }
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Certificates::generate(now))
}

fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "LongTask reports");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    limit(&mut params, now, YEARS * 365);
    params
}

/// Good for that many days. From yesterday on: clocks differ.
fn limit(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let at = |(year, month, day)| date_time_ymd(year, month, day);
    (params.not_before, params.not_after) = (at(date(now, -1)), at(date(now, days)));
}

/// That many days from a moment: year, month, day.
fn date(now: Timestamp, days: i64) -> (i32, u8, u8) {
    let day = now.to_zoned(TimeZone::UTC).saturating_add(Span::new().days(days)).date();
    (day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use rustls::{
        ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore, ServerConnection, SideData,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    };

    use super::*;
    use crate::clock::Clock;

    fn agent(certificates: &Certificates) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(certificates.authority.as_bytes()).expect("a certificate");
        roots.add(authority).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.expect("TLS").with_root_certificates(roots).with_no_client_auth())
    }

    fn pass_on<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>)
    where
        A: SideData,
        B: SideData,
    {
        let mut said = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut said).expect("a buffer");
        }
        let mut rest = said.as_slice();
        while !rest.is_empty() {
            to.read_tls(&mut rest).expect("a buffer");
            to.process_new_packets().expect("of TLS");
        }
    }

    /// Lets an agent and the server speak until both have said all.
    fn handshake(agent: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Option<HandshakeKind> {
        let name = ServerName::try_from(SERVER_NAME).expect("a name");
        let mut agent = ClientConnection::new(Arc::clone(agent), name).expect("TLS");
        let mut server = ServerConnection::new(Arc::clone(server)).expect("TLS");
        while agent.wants_write() || server.wants_write() {
            pass_on(&mut agent, &mut server);
            pass_on(&mut server, &mut agent);
        }
        agent.handshake_kind()
    }

    #[test]
    fn an_agent_resumes_its_session_however_many_others_have_come_since() {
        let now = Clock::wall().now();
        let certificates = Certificates::generate(now).expect("an authority");
        let server = certificates.server_config(now).expect("TLS");
        let first = agent(&certificates);
        assert_eq!(handshake(&first, &server), Some(HandshakeKind::Full));
        for _ in 0..300 {
            assert_eq!(handshake(&agent(&certificates), &server), Some(HandshakeKind::Full));
        }
        assert_eq!(handshake(&first, &server), Some(HandshakeKind::Resumed));
    }
}
