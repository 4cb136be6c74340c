//! Azurite, Azure's own emulator, and requests to it that are signed.

use std::path::Path;
use std::process::Command;

use aws_smithy_types::base64;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};

/// The account that every Azurite has.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The program that listens on a port of this machine and keeps everything in memory.
pub fn azurite(program: &Path, port: u16, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"]);
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]).current_dir(directory);
    command
}

pub fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}/{ACCOUNT}")
}

/// A request to `path` below the account, without its body.
pub fn signed(port: u16, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> HttpRequest {
    let mut request = http::Request::builder().method(method).uri(format!("{}/{path}", endpoint(port)));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.header("content-length", length).body(HttpRequestBody::empty()).unwrap();
    let key = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).unwrap());
    AzureAuthorizer::new(&key, ACCOUNT).try_authorize(&mut request).unwrap();
    request
}

/// A token with which all of the account can be read and written, but no container made.
pub fn sas() -> String {
    let (permissions, services, types, end, version) = ("rwdlc", "b", "co", "2099-01-01T00:00:00Z", "2023-11-03");
    let text = format!("{ACCOUNT}\n{permissions}\n{services}\n{types}\n\n{end}\n\n\n{version}\n\n");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &base64::decode(KEY).unwrap());
    let signature = base64::encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()));
    let signature: String = form_urlencoded::byte_serialize(signature.as_bytes()).collect();
    format!("sv={version}&ss={services}&srt={types}&sp={permissions}&se={end}&sig={signature}")
}
