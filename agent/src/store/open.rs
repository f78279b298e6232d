//! Opening a store by its address.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use longtask_contract::agent::StoreSettings;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig,
    aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder,
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    local::LocalFileSystem,
    path::Path,
};

use super::failure::{Cause, Failure};
use crate::tls;

/// The longest that one request may take: a part on a slow line.
const REQUEST: Duration = Duration::from_mins(5);
/// How often one request is tried before its failure counts.
const TRIES: usize = 10;
/// The variable with a certificate authority, as PEM, that the store's certificate is of.
const CA_CERTIFICATE: &str = "CA_CERTIFICATE";
/// The variable that says whether content is left out of S3's signatures.
const UNSIGNED_PAYLOAD: &str = "AWS_UNSIGNED_PAYLOAD";

/// Where a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// Such as `s3://bucket/prefix`.
    pub url: String,
    /// Another address than the provider's own.
    pub endpoint: Option<String>,
    /// The provider's region.
    pub region: Option<String>,
}

/// A store that can be asked.
#[derive(Clone, Debug)]
pub struct Opened {
    /// It.
    pub store: Arc<dyn ObjectStore>,
    /// The place in it that the address leads to.
    pub prefix: Path,
}

impl Address {
    /// The address in the settings.
    pub fn of(settings: &StoreSettings) -> Self {
        let StoreSettings { url, endpoint, region, .. } = settings.clone();
        Self { url, endpoint, region }
    }

    /// Another place that is reached in the same way.
    #[must_use]
    pub fn with_url(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// Opens the store. Credentials are read from the variables of the process. A request that fails is tried again for
    /// that long.
    ///
    /// # Errors
    /// If the address cannot be understood, or the directory of a `file` address is not there. No server is asked.
    pub fn open(&self, patience: Duration) -> Result<Opened, Failure> {
        tls::use_ring();
        let (scheme, place) = self.url.split_once("://").ok_or_else(|| self.unusable("it has no scheme"))?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let store: Arc<dyn ObjectStore> = match scheme {
            "file" => return self.directory(place),
            _ if bucket.is_empty() => return Err(self.unusable("it names no bucket")),
            "s3" => Arc::new(self.s3(bucket, patience)?.build().map_err(|error| self.unusable(&error.to_string()))?),
            "gs" => Arc::new(self.gcs(bucket, patience)?),
            "az" | "abfss" => Arc::new(self.azure(scheme, bucket, patience)?),
            other => return Err(self.unusable(&format!("{other} is none of s3, gs, az, abfss and file"))),
        };
        let prefix = Path::parse(prefix).map_err(|error| self.unusable(&error.to_string()))?;
        Ok(Opened { store, prefix })
    }

    fn s3(&self, bucket: &str, patience: Duration) -> Result<AmazonS3Builder, Failure> {
        let mut builder = AmazonS3Builder::from_env()
            .with_client_options(self.client_options()?)
            .with_retry(retry(patience))
            .with_bucket_name(bucket);
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if env::var_os(UNSIGNED_PAYLOAD).is_none() {
            // A signed payload is one more digest of all that is sent. TLS guards what is sent as well; plain HTTP does not.
            builder = builder.with_unsigned_payload(!self.is_plain());
        }
        Ok(builder)
    }

    fn gcs(&self, bucket: &str, patience: Duration) -> Result<impl ObjectStore + use<>, Failure> {
        let mut builder = GoogleCloudStorageBuilder::from_env()
            .with_client_options(self.client_options()?)
            .with_retry(retry(patience))
            .with_bucket_name(bucket);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_config(GoogleConfigKey::BaseUrl, endpoint);
        }
        builder.build().map_err(|error| self.unusable(&error.to_string()))
    }

    fn azure(&self, scheme: &str, container: &str, patience: Duration) -> Result<impl ObjectStore + use<>, Failure> {
        let builder =
            MicrosoftAzureBuilder::from_env().with_client_options(self.client_options()?).with_retry(retry(patience));
        let mut builder = match scheme {
            "az" => builder.with_container_name(container),
            // It names the account as well.
            _ => builder.with_url(&self.url),
        };
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        builder.build().map_err(|error| self.unusable(&error.to_string()))
    }

    fn directory(&self, place: &str) -> Result<Opened, Failure> {
        let path = PathBuf::from(place);
        if !path.is_absolute() {
            return Err(self.unusable("it needs an absolute path, such as file:///mnt/checkpoints"));
        }
        let no_directory = |why: String| Failure::new(Cause::NoBucket, format!("{place}: {why}"));
        if !path.is_dir() {
            return Err(no_directory("there is no such directory".into()));
        }
        let store = LocalFileSystem::new_with_prefix(path).map_err(|error| no_directory(error.to_string()))?;
        let store = store.with_fsync(true).with_automatic_cleanup(true);
        Ok(Opened { store: Arc::new(store), prefix: Path::default() })
    }

    /// No client trusts more than the authorities that are compiled in and the one that it is given: the image has none.
    fn client_options(&self) -> Result<ClientOptions, Failure> {
        let mut options = ClientOptions::new()
            .with_timeout(REQUEST)
            .with_http1_only()
            .with_allow_http(self.is_plain())
            .with_no_system_certificates(true);
        for certificate in self.certificates()? {
            options = options.with_root_certificate(certificate);
        }
        Ok(options)
    }

    /// Whether requests are sent without TLS.
    fn is_plain(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }

    fn certificates(&self) -> Result<Vec<Certificate>, Failure> {
        let unusable = |error: object_store::Error| self.unusable(&format!("{CA_CERTIFICATE}: {error}"));
        let own = env::var(CA_CERTIFICATE).unwrap_or_default();
        let mut certificates = Certificate::from_pem_bundle(own.as_bytes()).map_err(unusable)?;
        for known in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            certificates.push(Certificate::from_der(known).map_err(unusable)?);
        }
        Ok(certificates)
    }

    fn unusable(&self, why: &str) -> Failure {
        Failure::new(Cause::Refused, format!("{} cannot be used: {why}", self.url))
    }
}

fn retry(patience: Duration) -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(10), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: TRIES, retry_timeout: patience }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::{ObjectStoreExt, StaticCredentialProvider, aws::AmazonS3ConfigKey, gcp::GcpCredential};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn address(url: &str) -> Address {
        Address { url: url.into(), ..Address::default() }
    }

    #[test]
    fn an_address_that_cannot_be_used_says_why() {
        for (url, says) in [
            ("bucket/prefix", "no scheme"),
            ("s3://", "names no bucket"),
            ("ftp://host/path", "none of s3"),
            ("file://mnt/x", "an absolute path"),
            ("s3://bucket/a//b", "Path"),
        ] {
            let failure = address(url).open(Duration::ZERO).expect_err(url);
            assert_eq!(failure.cause, Cause::Refused, "{url}");
            assert!(failure.words.contains(says), "{url}: {failure}");
        }
        let failure = address("file:///no/such/directory").open(Duration::ZERO).expect_err("it is not there");
        assert_eq!(failure.cause, Cause::NoBucket);
    }

    #[test]
    fn the_place_in_the_store_is_the_rest_of_the_address() {
        for (url, prefix) in [("s3://b", ""), ("s3://b/", ""), ("s3://b/runs", "runs"), ("gs://b/a/b/", "a/b")] {
            assert_eq!(address(url).open(Duration::ZERO).expect(url).prefix.as_ref(), prefix, "{url}");
        }
    }

    #[test]
    fn what_is_sent_without_tls_is_signed() {
        for (endpoint, is_unsigned) in
            [(None, "true"), (Some("https://minio:9000"), "true"), (Some("http://minio:9000"), "false")]
        {
            let address = Address { endpoint: endpoint.map(str::to_owned), ..address("s3://bucket/runs") };
            let builder = address.s3("bucket", Duration::ZERO).expect("it can be used");
            assert_eq!(builder.get_config_value(&AmazonS3ConfigKey::UnsignedPayload).as_deref(), Some(is_unsigned));
        }
    }

    /// A server that gives every request the same answer.
    async fn server(status: &'static str, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                        if connection.read_buf(&mut request).await.unwrap_or_default() == 0 {
                            return;
                        }
                    }
                    let answer = format!(
                        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = connection.write_all(answer.as_bytes()).await;
                });
            }
        });
        format!("http://{address}")
    }

    /// What a listing, a read and a write in that place fail with.
    async fn causes(store: &Arc<dyn ObjectStore>) -> [Cause; 3] {
        let path = Path::from("a/b");
        let cause = |error: object_store::Error| Failure::from(error).cause;
        let listed = store.list(Some(&path)).try_collect::<Vec<_>>().await;
        let (read, written) = (store.get(&path).await, store.put(&path, "x".into()).await);
        [
            cause(listed.expect_err("it cannot be listed")),
            cause(read.expect_err("it cannot be read")),
            cause(written.expect_err("it cannot be written")),
        ]
    }

    #[tokio::test]
    async fn what_each_provider_answers_is_understood() {
        tls::use_ring();
        let no_bucket = "<Error><Code>NoSuchBucket</Code><Message>m</Message></Error>";
        let no_container = "<Error><Code>ContainerNotFound</Code><Message>m</Message></Error>";
        let denied = "<Error><Code>AccessDenied</Code><Message>m</Message></Error>";
        let expired = "<Error><Code>ExpiredToken</Code><Message>m</Message></Error>";
        for (status, body, cause) in [
            ("403 Forbidden", denied, Cause::Refused),
            ("401 Unauthorized", "", Cause::Refused),
            ("400 Bad Request", expired, Cause::Refused),
            ("404 Not Found", no_bucket, Cause::NoBucket),
            ("404 Not Found", no_container, Cause::NoBucket),
            ("500 Internal Server Error", "", Cause::Unreachable),
            ("503 Service Unavailable", "", Cause::Unreachable),
        ] {
            let endpoint = server(status, body).await;
            let options = || ClientOptions::new().with_allow_http(true).with_no_system_certificates(true);
            let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
            let s3 = AmazonS3Builder::new()
                .with_client_options(options())
                .with_retry(retry.clone())
                .with_bucket_name("bucket")
                .with_endpoint(&endpoint)
                .with_access_key_id("id")
                .with_secret_access_key("key");
            let gcs = GoogleCloudStorageBuilder::new()
                .with_client_options(options())
                .with_retry(retry.clone())
                .with_bucket_name("bucket")
                .with_config(GoogleConfigKey::BaseUrl, &endpoint)
                .with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: "token".into() })));
            let azure = MicrosoftAzureBuilder::new()
                .with_client_options(options())
                .with_retry(retry)
                .with_account("account")
                .with_access_key("a2V5")
                .with_container_name("container")
                .with_endpoint(endpoint);
            let stores: [Arc<dyn ObjectStore>; 3] = [
                Arc::new(s3.build().expect("S3")),
                Arc::new(gcs.build().expect("GCS")),
                Arc::new(azure.build().expect("Azure")),
            ];
            for store in stores {
                assert_eq!(causes(&store).await, [cause; 3], "{store} answers {status} {body}");
            }
        }
    }

    #[tokio::test]
    async fn a_store_that_nobody_answers_for_is_unreachable() {
        tls::use_ring();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        drop(listener);
        let store = AmazonS3Builder::new()
            .with_client_options(ClientOptions::new().with_allow_http(true).with_no_system_certificates(true))
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_bucket_name("bucket")
            .with_endpoint(endpoint)
            .with_access_key_id("id")
            .with_secret_access_key("key")
            .build()
            .expect("S3");
        assert_eq!(causes(&(Arc::new(store) as Arc<dyn ObjectStore>)).await, [Cause::Unreachable; 3]);
    }
}
