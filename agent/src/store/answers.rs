//! What stores answer, and what that means.

use std::{error::Error, io};

use longtask_contract::types::truncate;

use super::failure::{Cause, Failure};

/// The most bytes of a store's words that are passed on.
const LONGEST_WORDS: usize = 400;
/// The codes by which stores say that the place itself does not exist.
const NO_BUCKET: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "FilesystemNotFound"];

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as Store;
        let words = all_words(&error);
        let cause = match &error {
            _ if NO_BUCKET.iter().any(|code| words.contains(code)) => Cause::NoBucket,
            Store::NotFound { .. } => Cause::Missing,
            Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => Cause::Refused,
            // What has a variant of its own only for some requests.
            _ => status_in(&words).map_or_else(|| of_io(&error), of_status),
        };
        Self { cause, words: told(&words) }
    }
}

fn of_status(status: u16) -> Cause {
    match status {
        // It is there, and shorter than what is asked for.
        404 | 416 => Cause::Missing,
        408 | 409 | 412 | 425 | 429 => Cause::Unreachable,
        // A redirection says that the region is another one, and a bad request that a key has expired.
        300..=499 => Cause::Refused,
        _ => Cause::Unreachable,
    }
}

/// Of a directory instead of a server.
fn of_io(error: &(dyn Error + 'static)) -> Cause {
    let mut next = Some(error);
    while let Some(error) = next {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if let Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) = kind {
            return Cause::Refused;
        }
        next = error.source();
    }
    Cause::Unreachable
}

/// The status of an answer. The library has it in a type that it keeps to itself, and in its words.
fn status_in(words: &str) -> Option<u16> {
    if words.contains("Received redirect without LOCATION") {
        return Some(301);
    }
    let (_, status) = words.split_once("status code: ")?;
    status.get(..3)?.parse().ok()
}

/// The words of an error and of its causes, as far as those are not in them already.
fn all_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let of_cause = error.to_string();
        if !words.contains(&of_cause) {
            words = format!("{words}: {of_cause}");
        }
        cause = error.source();
    }
    words
}

/// What is told of it: the store's own code and words if there are any, since they say most.
fn told(words: &str) -> String {
    let of_store = between(words, "<Code>", "</Code>").map(|code| match between(words, "<Message>", "</Message>") {
        Some(message) => format!("{code}: {message}"),
        None => code.to_owned(),
    });
    let one_line = of_store.unwrap_or_else(|| words.to_owned()).split_whitespace().collect::<Vec<_>>().join(" ");
    truncate(&one_line, LONGEST_WORDS).to_owned()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(between, _)| between)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(words: &str) -> Failure {
        object_store::Error::Generic { store: "S3", source: words.into() }.into()
    }

    #[test]
    fn the_stores_own_code_and_words_are_told() {
        let failure = generic(
            "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>\
             <Message>Access\n Denied</Message></Error>",
        );
        assert_eq!(failure, Failure::new(Cause::Refused, "AccessDenied: Access Denied"));
    }

    #[test]
    fn a_status_decides_where_the_library_has_no_word_of_its_own() {
        for (status, cause) in [
            ("400 Bad Request", Cause::Refused),
            ("401 Unauthorized", Cause::Refused),
            ("404 Not Found", Cause::Missing),
            ("409 Conflict", Cause::Unreachable),
            ("429 Too Many Requests", Cause::Unreachable),
            ("500 Internal Server Error", Cause::Unreachable),
            ("503 Slow Down", Cause::Unreachable),
        ] {
            assert_eq!(generic(&format!("Server returned non-2xx status code: {status}: ")).cause, cause, "{status}");
        }
        assert_eq!(generic("connection refused").cause, Cause::Unreachable);
    }

    #[test]
    fn a_directory_that_may_not_be_written_refuses_and_a_full_one_does_not() {
        let of = |kind: io::ErrorKind| {
            let source = Box::new(io::Error::from(kind));
            Failure::from(object_store::Error::Generic { store: "LocalFileSystem", source }).cause
        };
        assert_eq!(of(io::ErrorKind::PermissionDenied), Cause::Refused);
        assert_eq!(of(io::ErrorKind::StorageFull), Cause::Unreachable);
    }

    #[test]
    fn long_words_are_cut() {
        assert_eq!(generic(&"x".repeat(5000)).words.len(), LONGEST_WORDS);
    }
}
