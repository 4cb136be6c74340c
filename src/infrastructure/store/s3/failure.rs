//! The meaning of an S3 failure: the closed set of kinds, a cause in plain words, and what a person can do about it.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::answer::{SERVER, Unfit};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::http::document::{is_html, web_page};
use crate::infrastructure::http::failure::{broken, by_status, causes, chain, root_cause, unreachable};
use crate::infrastructure::scrub::Scrub;
use crate::infrastructure::store::checked::printable;

/// The action that was tried, which decides the permission that a hint names.
#[derive(Clone, Copy)]
pub(super) enum Action {
    List,
    Read,
    /// The beacon.
    Write,
    /// A setting of the bucket, and the permission that reading it takes.
    Posture(&'static str),
    FindRegion,
}

/// A failed request, freed from the SDK's types.
#[derive(Debug, Default)]
struct Refusal {
    status: u16,
    code: Option<String>,
    /// The bucket's region, where the answer names it.
    region: Option<String>,
    /// The store's own words, without what it was sent.
    said: Option<String>,
}

/// Says why a request failed.
pub(super) fn reason<E>(error: SdkError<E, HttpResponse>, action: Action, bucket: &str) -> Reason
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    if let Some(reason) = Unfit::among(&error) {
        return reason.clone();
    }
    match &error {
        // The SDK counts an answer that it cannot parse as the service's error.
        SdkError::ServiceError(service) if service.raw().status().is_success() => {
            broken_answer(service.raw().status().as_u16(), &error)
        }
        SdkError::ServiceError(service) => {
            let (answer, error) = (service.raw(), service.err());
            let status = answer.status().as_u16();
            // A gateway before the store says that it is out of order in HTML; anybody else who does is no store.
            if error.code().is_none() && status < 500 && answer.body().bytes().is_some_and(is_html) {
                return web_page(status, SERVER);
            }
            let scrub = answer.extension::<Scrub>().cloned().unwrap_or_default();
            let said = error.message().map(|said| scrub.clean(said)).filter(|said| !said.is_empty());
            let region = answer.headers().get("x-amz-bucket-region").map(str::to_owned);
            refused(Refusal { status, code: error.code().map(str::to_owned), region, said }, action, bucket)
        }
        SdkError::TimeoutError(_) => Reason::new(ReasonKind::Timeout, "no answer in time"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            Reason::new(ReasonKind::Timeout, "no answer in time")
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => unreachable(&error),
        SdkError::ResponseError(answer) => broken_answer(answer.raw().status().as_u16(), &error),
        _ => not_sent(&error),
    }
}

/// Codes that say everything; the sentence beside them is the same for all.
const CLEAR: [&str; 10] = [
    "NoSuchBucket",
    "NoSuchKey",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SlowDown",
    "NotImplemented",
];

/// Texts in which a store only says no.
const NO: [&str; 4] = ["access denied", "forbidden", "unauthorized", "not found"];

/// Texts in which a store speaks of permissions.
const OF_PERMISSION: [&str; 8] =
    ["denied", "not authorized", "not allowed", "not entitled", "unauthorized", "permission", "policy", "forbidden"];

/// The reason, and beside it what the store says where that is more than the code.
fn refused(refusal: Refusal, action: Action, bucket: &str) -> Reason {
    let reason = meaning(&refusal, action, bucket);
    let clear = refusal.code.as_deref().is_some_and(|code| CLEAR.contains(&code));
    match refusal.said {
        Some(said) if !clear && !NO.contains(&said.to_lowercase().trim_end_matches('.')) => {
            Reason { message: format!("{}; the store says: {said}", reason.message), ..reason }
        }
        _ => reason,
    }
}

/// A permission is named where nothing speaks against its being the cause: a cap, a closed account and an archived
/// object are refused with the same status.
fn denied(refusal: &Refusal, action: Action, bucket: &str) -> Reason {
    let code = refusal.code.as_deref().unwrap_or_default();
    let plain = ["", "AccessDenied", "AccessDeniedException", "Forbidden", "Unauthorized", "UnauthorizedAccess"];
    let said = refusal.said.as_deref().map(str::to_lowercase);
    let of_permission = said.is_none_or(|said| OF_PERMISSION.iter().any(|words| said.contains(words)));
    if !plain.contains(&code) {
        return Reason::new(ReasonKind::Denied, format!("refused with {}", printable(code)));
    }
    if !of_permission {
        return Reason::new(ReasonKind::Denied, "refused");
    }
    Reason::new(ReasonKind::Denied, "access denied").with_hint(match action {
        Action::List => format!("grant s3:ListBucket on bucket {bucket}"),
        Action::Read => format!("grant s3:GetObject on the objects of bucket {bucket}"),
        Action::Write => format!("grant s3:PutObject on *.streamgauge/beacon.json in bucket {bucket}"),
        Action::Posture(permission) => format!("grant {permission} on bucket {bucket}"),
        Action::FindRegion => format!("set region, or grant s3:GetBucketLocation on bucket {bucket}"),
    })
}

fn meaning(refusal: &Refusal, action: Action, bucket: &str) -> Reason {
    let code = refusal.code.as_deref().unwrap_or_default();
    match (code, refusal.status) {
        ("NoSuchBucket", _) => {
            Reason::new(ReasonKind::NotFound, "no such bucket").with_hint(format!("check that bucket {bucket} exists"))
        }
        ("NoSuchKey", _) => Reason::new(ReasonKind::NotFound, "no such object"),
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch", _) => {
            let cause = if code == "InvalidAccessKeyId" { "unknown access key" } else { "wrong secret key" };
            Reason::new(ReasonKind::Denied, cause).with_hint("check access-key-id and secret-access-key")
        }
        ("ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => {
            Reason::new(ReasonKind::Denied, "the credentials have expired").with_hint("renew the credentials")
        }
        ("RequestTimeTooSkewed", _) => {
            Reason::new(ReasonKind::Misconfigured, "this machine's clock is wrong").with_hint("synchronise the clock")
        }
        (
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
            _,
        )
        | (_, 301 | 307 | 308) => {
            let hint = match &refusal.region {
                Some(region) => format!("set region to {}", printable(region)),
                None => format!("set region and endpoint to those of bucket {bucket}"),
            };
            Reason::new(ReasonKind::Misconfigured, "the bucket is in another region").with_hint(hint)
        }
        ("SlowDown" | "Throttling" | "ThrottlingException" | "TooManyRequests" | "RequestLimitExceeded", _)
        | (_, 429 | 503) => by_status(503),
        ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | (_, 401 | 403) => {
            denied(refusal, action, bucket)
        }
        ("NotImplemented" | "MethodNotAllowed", _) => by_status(501),
        ("RequestTimeout", _) => by_status(408),
        ("", status) | (_, status @ (404 | 405 | 408 | 501 | 504)) => by_status(status),
        (code, status) => Reason::new(ReasonKind::Failed, format!("status {status}, {}", printable(code))),
    }
}

/// An answer that cannot be understood, or that broke off.
fn broken_answer(status: u16, error: &(dyn Error + 'static)) -> Reason {
    match chain(error).find(|error| error.is::<hyper::Error>()) {
        Some(error) => broken(error),
        None => not_s3(status, &root_cause(error)),
    }
}

/// It came whole, and is nothing that an S3 server says.
pub(super) fn not_s3(status: u16, cause: &str) -> Reason {
    Reason::new(ReasonKind::Corrupt, format!("answer with status {status}: {cause}"))
        .with_hint("check that the endpoint is an S3 server")
}

/// A request that was never sent: no credentials, or a bucket or endpoint that makes no address.
fn not_sent(error: &(dyn Error + 'static)) -> Reason {
    let causes = causes(error);
    let cause = causes.last().map_or("", String::as_str);
    // The chain lists each place where it looked.
    let cause = cause.split(". Attempted").next().unwrap_or(cause);
    match causes.iter().any(|cause| cause.contains("credential")) {
        true => Reason::new(ReasonKind::Denied, format!("no usable credentials: {cause}"))
            .with_hint("configure access-key-id and secret-access-key, or a profile or role of the AWS environment"),
        false => Reason::new(ReasonKind::Misconfigured, cause).with_hint("check bucket, endpoint and region"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, code: &str, region: Option<&str>, action: Action) -> String {
        let code = Some(code.to_owned()).filter(|code| !code.is_empty());
        let refusal = Refusal { status, code, region: region.map(str::to_owned), said: None };
        let reason = refused(refusal, action, "backups");
        format!("{}: {} | {}", reason.kind.as_str(), reason.message, reason.hint.unwrap_or_default())
    }

    #[test]
    fn refusals_become_kinds_causes_and_hints() {
        use Action::{FindRegion, List, Read};
        for (status, code, action, expected) in [
            (403, "AccessDenied", List, "denied: access denied | grant s3:ListBucket on bucket backups"),
            (403, "", Read, "denied: access denied | grant s3:GetObject on the objects of bucket backups"),
            (
                403,
                "AccessDenied",
                FindRegion,
                "denied: access denied | set region, or grant s3:GetBucketLocation on bucket backups",
            ),
            (403, "InvalidAccessKeyId", List, "denied: unknown access key | check access-key-id and secret-access-key"),
            (
                403,
                "SignatureDoesNotMatch",
                List,
                "denied: wrong secret key | check access-key-id and secret-access-key",
            ),
            (400, "ExpiredToken", List, "denied: the credentials have expired | renew the credentials"),
            (404, "NoSuchBucket", List, "not_found: no such bucket | check that bucket backups exists"),
            (404, "NoSuchKey", Read, "not_found: no such object | "),
            (404, "", List, "not_found: not found | "),
            (503, "SlowDown", List, "throttled: the store asks to slow down | "),
            (429, "", List, "throttled: the store asks to slow down | "),
            (403, "RequestTimeTooSkewed", List, "misconfigured: this machine's clock is wrong | synchronise the clock"),
            (500, "InternalError", List, "failed: status 500, InternalError | "),
            (418, "a\nb", List, "failed: status 418, a\\nb | "),
        ] {
            assert_eq!(check(status, code, None, action), expected);
        }
        let said = |status, code: &str, said: &str| {
            let said = Some(said.to_owned());
            let reason = refused(Refusal { status, code: Some(code.to_owned()), said, region: None }, List, "backups");
            format!("{}: {} | {}", reason.kind.as_str(), reason.message, reason.hint.unwrap_or_default())
        };
        for (status, code, words, expected) in [
            (
                403,
                "AccessDenied",
                "Transaction cap exceeded, see the Caps & Alerts page to increase your cap.",
                "denied: refused; the store says: Transaction cap exceeded, see the Caps & Alerts page to increase your \
                 cap. | ",
            ),
            (
                403,
                "AccessDenied",
                "User: x is not authorized to perform: s3:ListBucket",
                "denied: access denied; the store says: User: x is not authorized to perform: s3:ListBucket | grant \
                 s3:ListBucket on bucket backups",
            ),
            (403, "AccessDenied", "Access Denied.", "denied: access denied | grant s3:ListBucket on bucket backups"),
            (
                403,
                "InvalidObjectState",
                "The operation is not valid for the object's storage class",
                "denied: refused with InvalidObjectState; the store says: The operation is not valid for the object's \
                 storage class | ",
            ),
            (
                404,
                "NoSuchBucket",
                "The specified bucket does not exist",
                "not_found: no such bucket | check that bucket backups exists",
            ),
            (
                500,
                "InternalError",
                "disk 7 is full",
                "failed: status 500, InternalError; the store says: disk 7 is full | ",
            ),
        ] {
            assert_eq!(said(status, code, words), expected);
        }
        assert_eq!(
            check(301, "PermanentRedirect", Some("eu-west-1"), List),
            "misconfigured: the bucket is in another region | set region to eu-west-1"
        );
    }
}
