//! `--web.config.file`: the cases that the exporter toolkit holds itself to, and a rotation under a real Prometheus.

#[path = "web_config/client.rs"]
mod client;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::version::{TLS12, TLS13};
use streamgauge::infrastructure::endpoint;

use self::client::{Client, Served};
use super::lab::agent::Agent;
use super::lab::certificates::Certificate;
use super::lab::prometheus::PROMETHEUS;
use super::lab::{Lab, command, http, wait_for};
use super::{database, told, watching};

/// The certificates of all cases.
struct Home {
    directory: tempfile::TempDir,
    authority: Certificate,
    server: Certificate,
    client: Certificate,
    stranger: Certificate,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let authority = Certificate::authority(place, "ca");
        let server = authority.sign(place, "server", "DNS:localhost,IP:127.0.0.1");
        let names = "DNS:scraper.test,email:a@b.test,URI:spiffe://x/y,IP:10.0.0.7";
        let client = authority.sign(place, "client", names);
        let stranger = Certificate::self_signed(place, "stranger", "DNS:stranger.test");
        Self { authority, server, client, stranger, directory }
    }

    fn write(&self, yaml: &str) -> PathBuf {
        let (next, path) = (self.directory.path().join("web.next"), self.directory.path().join("web.yml"));
        fs::write(&next, yaml).unwrap();
        // At once, as whoever changes it under a running agent should.
        fs::rename(&next, &path).unwrap();
        path
    }

    /// All problems, a line each, without the folder.
    fn refused(&self, yaml: &str) -> String {
        let Err(problems) = endpoint::load(&self.write(yaml)) else { return String::new() };
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n").replace(&format!("{}/", self.directory.path().display()), "")
    }

    /// A file of the folder, as it would be written into YAML.
    fn inline(&self, path: &Path) -> String {
        let text = fs::read_to_string(path).unwrap();
        format!("|\n{}", text.lines().map(|line| format!("    {line}\n")).collect::<String>())
    }

    fn client(&self) -> Client {
        Client::trusting(&self.authority.certificate)
    }

    fn with(&self, certificate: &Certificate) -> Client {
        self.client().showing(&certificate.certificate, &certificate.key)
    }
}

/// The server's certificate and key, which most cases need.
const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

/// What `TestYAMLFiles` of the exporter toolkit tries, and more of the kind.
#[test]
fn mistakes_are_refused_with_file_line_and_key() {
    let home = Home::new();
    let cases: &[(&str, &str)] = &[
        ("", ""),
        ("tls_server_config:\n", ""),
        ("hWkNKCp3fvIx3jKnsaBI\n", "web.yml:1: expected keys at the top"),
        (
            "tls_server_confi:\n  cert_file: x\n",
            "web.yml:1: tls_server_confi: unknown key, did you mean `tls_server_config`?",
        ),
        (
            "tls_server_config:\n  key_file: server.key\n  cert_file: ''\n",
            "web.yml:1: tls_server_config: missing one of cert or cert_file",
        ),
        (
            "tls_server_config:\n  key_file: server.key\n  cert: ''\n",
            "web.yml:1: tls_server_config: missing one of cert or cert_file",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: ''\n",
            "web.yml:1: tls_server_config: missing one of key or key_file",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key: ''\n",
            "web.yml:1: tls_server_config: missing one of key or key_file",
        ),
        // `TestTLSConfigIsEnabled`: an authority alone turns TLS on as well.
        (
            "tls_server_config:\n  client_ca_file: ca.pem\n",
            "web.yml:1: tls_server_config: missing one of cert or cert_file",
        ),
        (
            "tls_server_config:\n  cert_file: ''\n  key_file: ''\n  client_auth_type: RequireAnyClientCert\n",
            "web.yml:1: tls_server_config: missing one of cert or cert_file",
        ),
        (
            "tls_server_config:\n  cert_file: no.pem\n  key_file: server.key\n",
            "web.yml:2: tls_server_config.cert_file: no.pem: no such file or directory",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: no.key\n",
            "web.yml:3: tls_server_config.key_file: no.key: no such file or directory",
        ),
        (
            "tls_server_config:\n  cert_file: no.pem\n  key_file: no.key\n",
            "web.yml:2: tls_server_config.cert_file: no.pem: no such file or directory\n\
             web.yml:3: tls_server_config.key_file: no.key: no such file or directory",
        ),
        (
            "{TLS}  client_ca_file: ca.pem\n",
            "web.yml:4: tls_server_config.client_ca_file: without a client_auth_type; accepted: ",
        ),
        (
            "{TLS}  client_ca_file: no.pem\n  client_auth_type: RequireAndVerifyClientCert\n",
            "web.yml:4: tls_server_config.client_ca_file: no.pem: no such file or directory",
        ),
        (
            "{TLS}  client_auth_type: Sometimes\n",
            "web.yml:4: tls_server_config.client_auth_type: value `Sometimes`: not one of the choices; accepted: NoClientCert, ",
        ),
        (
            "{TLS}  client_allowed_sans: [x]\n",
            "web.yml:4: tls_server_config.client_allowed_sans: without a client_auth_type",
        ),
        (
            "basic_auth_users:\n  alice: not a hash\n",
            "web.yml:2: basic_auth_users.alice: not a bcrypt hash; accepted: ",
        ),
        (
            "{TLS}  cipher_suites: [TLS_RSA_WITH_NOTHING]\n",
            "web.yml:4: tls_server_config.cipher_suites[0]: value `TLS_RSA_WITH_NOTHING`: unknown; accepted: TLS_AES_128_GCM_SHA256, ",
        ),
        (
            "{TLS}  curve_preferences: [CurveP257]\n",
            "web.yml:4: tls_server_config.curve_preferences[0]: value `CurveP257`: unknown; accepted: CurveP256, ",
        ),
        (
            "{TLS}  min_version: TLS111\n",
            "web.yml:4: tls_server_config.min_version: value `TLS111`: not one of the choices; accepted: TLS10, TLS11, TLS12, TLS13",
        ),
        (
            "{TLS}  max_version: TLS11\n  min_version: TLS10\n",
            "web.yml:4: tls_server_config.max_version: no version is left",
        ),
        (
            "{TLS}  min_version: TLS13\n  max_version: TLS12\n",
            "web.yml:5: tls_server_config.max_version: no version is left",
        ),
        // The toolkit starts with this one; aws-lc-rs has no other curve to offer in its place.
        (
            "{TLS}  min_version: TLS13\n  curve_preferences: [CurveP521]\n",
            "web.yml:5: tls_server_config.curve_preferences: none of these is supported here; accepted: CurveP256, CurveP384, X25519",
        ),
        (
            "{TLS}  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n",
            "web.yml:4: tls_server_config.cipher_suites: without one that HTTP/2 requires; accepted: ",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: client.key\n",
            "web.yml:2: tls_server_config.cert_file: ",
        ),
        (
            "tls_server_config:\n  cert_file: server.key\n  key_file: server.key\n",
            "web.yml:2: tls_server_config.cert_file: no certificate in it",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.pem\n",
            "web.yml:3: tls_server_config.key_file: no private key: ",
        ),
        (
            "http_server_config:\n  headers:\n    X-Powered-By: us\n",
            "web.yml:3: http_server_config.headers.X-Powered-By: this header cannot be configured; accepted: ",
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: allow\n",
            "web.yml:3: http_server_config.headers.X-Frame-Options: value `allow`: invalid value; accepted: deny, sameorigin",
        ),
        (
            "http_server_config:\n  headers:\n    X-Content-Type-Options: sniff\n",
            "web.yml:3: http_server_config.headers.X-Content-Type-Options: value `sniff`: invalid value; accepted: nosniff",
        ),
        ("rate_limit:\n  interval: soon\n", "web.yml:2: rate_limit.interval: value `soon`: not a duration; accepted: "),
        ("rate_limit: {}\nrate_limit: {}\n", "web.yml:2: rate_limit: given twice in the same place"),
    ];
    for (yaml, expected) in cases {
        let refused = home.refused(&yaml.replace("{TLS}", TLS));
        assert!(refused.starts_with(expected) && refused.is_empty() == expected.is_empty(), "{yaml}\n{refused}");
    }
    let absent = endpoint::load(&home.directory.path().join("absent.yml")).unwrap_err();
    assert!(absent[0].to_string().ends_with("absent.yml: no such file or directory"), "{}", absent[0]);
}

/// What `TestServerBehaviour` tries. `None`: the client is turned away.
#[test]
fn servers_behave_as_the_exporter_toolkits() {
    let home = Home::new();
    let sans =
        |names: &str| format!("{TLS}  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [{names}]\n");
    let inline = format!(
        "tls_server_config:\n  cert: {}  key: {}",
        home.inline(&home.server.certificate),
        home.inline(&home.server.key)
    );
    let any_inline = format!(
        "{TLS}  client_auth_type: RequireAnyClientCert\n  client_ca: {}",
        home.inline(&home.authority.certificate)
    );
    let any = format!("{TLS}  client_auth_type: RequireAnyClientCert\n  client_ca_file: ca.pem\n");
    let verify = format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n");
    let if_given = format!("{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n");
    let request = format!("{TLS}  client_auth_type: RequestClientCert\n");
    let all = "TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, \
               TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, \
               TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, \
               TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, \
               TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, \
               TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";
    let suites = |more: &str| {
        format!(
            "{TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n{more}"
        )
    };
    let (aes128, aes256) =
        (cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
    let in_order = || home.client().versions(&[&TLS12]).suites(&[aes128, aes256]);
    let chacha =
        home.client().versions(&[&TLS12]).suites(&[cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]);
    let x25519 = || home.client().curves(&[kx_group::X25519]);
    let cases: Vec<(&str, String, Client, Option<&str>)> = vec![
        ("no file, http", String::new(), Client::plain(), Some("200")),
        ("no file, TLS", String::new(), home.client(), None),
        ("TLS, http", TLS.to_owned(), Client::plain(), None),
        ("TLS", TLS.to_owned(), home.client(), Some("200 TLSv1_3 TLS13_AES_256_GCM_SHA384")),
        ("TLS inline", inline, home.client(), Some("200 TLSv1_3 TLS13_AES_256_GCM_SHA384")),
        ("all suites", format!("{TLS}  cipher_suites: [{all}]\n"), home.client(), Some("200 TLSv1_3")),
        ("some suites", suites(""), home.client(), Some("200 TLSv1_2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")),
        ("no suite in common", suites(""), chacha, None),
        ("the server's order", suites(""), in_order(), Some("200 TLSv1_2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")),
        (
            "the client's order",
            suites("  prefer_server_cipher_suites: false\n"),
            in_order(),
            Some("200 TLSv1_2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        ),
        (
            "all curves",
            format!("{TLS}  curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]\n"),
            x25519(),
            Some("200"),
        ),
        ("no curve in common", format!("{TLS}  curve_preferences: [CurveP384]\n"), x25519(), None),
        (
            "a suite without HTTP/2",
            format!(
                "{TLS}  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\nhttp_server_config: {{http2: false}}\n"
            ),
            home.client().offering_http2(),
            Some("200 TLSv1_3 TLS13_AES_256_GCM_SHA384 http/1.1"),
        ),
        (
            "CBC suites alone",
            format!(
                "{TLS}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\nhttp_server_config: {{http2: false}}\n"
            ),
            home.client(),
            Some("200 TLSv1_3"),
        ),
        ("TLS 1.3 alone", format!("{TLS}  min_version: TLS13\n"), home.client().versions(&[&TLS12]), None),
        ("TLS 1.2 alone", format!("{TLS}  max_version: TLS12\n"), home.client().versions(&[&TLS13]), None),
        ("any certificate, none", any.clone(), home.client(), None),
        ("any certificate", any, home.with(&home.stranger), Some("200")),
        ("any certificate, inline", any_inline, home.with(&home.stranger), Some("200")),
        ("a good certificate, none", verify.clone(), home.client(), None),
        ("a good certificate, foreign", verify.clone(), home.with(&home.stranger), None),
        ("a good certificate", verify, home.with(&home.client), Some("200")),
        ("if given, none", if_given.clone(), home.client(), Some("200")),
        ("if given, foreign", if_given.clone(), home.with(&home.stranger), None),
        ("if given", if_given, home.with(&home.client), Some("200")),
        ("asked for, none", request.clone(), home.client(), Some("200")),
        ("asked for, foreign", request, home.with(&home.stranger), Some("200")),
        ("DNS name", sans("other.test, scraper.test"), home.with(&home.client), Some("200")),
        ("mail address", sans("a@b.test"), home.with(&home.client), Some("200")),
        ("URI", sans("'spiffe://x/y'"), home.with(&home.client), Some("200")),
        ("IP address", sans("10.0.0.7"), home.with(&home.client), Some("200")),
        ("another name", sans("test, stranger.test"), home.with(&home.client), None),
        ("a name, and no certificate", sans("scraper.test").replace("RequireAny", "Request"), home.client(), None),
        (
            "HTTP/2 is offered",
            TLS.to_owned(),
            home.client().offering_http2().without_request(),
            Some("TLSv1_3 TLS13_AES_256_GCM_SHA384 h2"),
        ),
    ];
    for (name, yaml, client, expected) in cases {
        let served = Served::by(&home.write(&yaml));
        let answer = client.ask(served.address, "/-/healthy", "");
        let got = answer.as_ref().ok().map(|answer| answer.summary.as_str());
        let agrees = match (got, expected) {
            (Some(got), Some(expected)) => got.starts_with(expected),
            (got, expected) => got == expected,
        };
        assert!(agrees, "{name}: {got:?}, not {expected:?}: {:?}", answer.as_ref().err());
    }
    let served = Served::by(&home.write(TLS));
    assert!(client::is_refused_with_tls_1_1(served.address));
    let headers = "http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=1\n    X-Frame-Options: deny\n    \
                   X-Content-Type-Options: nosniff\n    X-XSS-Protection: '1'\n    Content-Security-Policy: default-src 'self'\n";
    let served = Served::by(&home.write(&format!("{TLS}{headers}")));
    let head = home.client().ask(served.address, "/", "").unwrap().head;
    for header in [
        "strict-transport-security: max-age=1",
        "x-frame-options: deny",
        "x-xss-protection: 1",
        "content-security-policy: default-src 'self'",
    ] {
        assert_eq!(head.matches(header).count(), 1, "{header} in {head}");
    }
    assert_eq!(head.matches("content-security-policy").count(), 1, "{head}");
}

#[test]
fn where_no_authority_is_named_those_of_the_system_verify_clients() {
    let home = Home::new();
    let (place, path) = (home.directory.path(), home.directory.path().join("app.db"));
    drop(database(&path));
    let file = home.write(&format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n"));
    let mut program = command(env!("CARGO_BIN_EXE_streamgauge"));
    program.env("SSL_CERT_FILE", &home.authority.certificate);
    let flag = format!("--web.config.file={}", file.display());
    let agent = Agent::start_by(program, place, &watching("", [&path]), &place.join("state"), &[&flag]);
    let address = agent.address.parse().unwrap();
    let asked = |client: Client| client.ask(address, "/-/healthy", "").map(|answer| answer.summary);
    assert!(asked(home.with(&home.client)).unwrap().starts_with("200"));
    assert!(asked(home.with(&home.stranger)).is_err());
}

/// bcrypt of `geheim`, of the least cost.
fn hash() -> String {
    bcrypt::hash("geheim", 4).unwrap()
}

const ALICE: &str = "Authorization: Basic YWxpY2U6Z2VoZWlt\r\n";
/// Of the users that are called like their generation.
const FIRST: &str = "Authorization: Basic Zmlyc3Q6Z2VoZWlt\r\n";
const SECOND: &str = "Authorization: Basic c2Vjb25kOmdlaGVpbQ==\r\n";
const WRONG: &str = "Authorization: Basic YWxpY2U6ZmFsc2No\r\n";

#[test]
fn requests_are_limited_before_passwords_are_compared() {
    let home = Home::new();
    let users = format!("basic_auth_users:\n  alice: {}\n", hash());
    let statuses = |yaml: &str, headers: &[&str]| -> Vec<String> {
        let served = Served::by(&home.write(yaml));
        let ask = |headers: &&str| Client::plain().ask(served.address, "/-/healthy", headers).unwrap();
        headers.iter().map(|headers| ask(headers).summary).collect()
    };
    assert_eq!(statuses(&users, &[ALICE, WRONG, "", ALICE]), ["200", "401", "401", "200"]);
    let limited = |limit: &str| format!("rate_limit: {limit}\n{users}");
    assert_eq!(statuses(&limited("{interval: 0s, burst: 0}"), &[ALICE; 3]), ["200"; 3]);
    assert_eq!(
        statuses(&limited("{interval: 1h, burst: 2}"), &[ALICE, WRONG, ALICE, ""]),
        ["200", "401", "429", "429"]
    );
    assert_eq!(statuses(&limited("{interval: 1s}"), &[ALICE]), ["429"]);
    let served = Served::by(&home.write(&users));
    let head = Client::plain().ask(served.address, "/-/reload", "").unwrap().head;
    assert!(head.contains("www-authenticate: Basic\r\n") || head.ends_with("www-authenticate: Basic"), "{head}");
}

/// The agent itself: it starts with a good file alone, asks everybody but its owner, and takes in what is changed.
#[test]
fn the_owner_is_let_in_by_a_socket_and_a_change_is_taken_in() {
    let home = Home::new();
    let place = home.directory.path();
    let path = place.join("app.db");
    drop(database(&path));
    let web = home.write(&format!("{TLS}basic_auth_users:\n  alice: {}\n", hash()));
    let socket = format!("unix:{}", place.join("agent.sock").display());
    let flags = [format!("--web.config.file={}", web.display()), format!("--web.listen-address={socket}")];
    let agent = Agent::start(place, &watching("", [&path]), &[&flags[0], &flags[1]]);
    let address = agent.address.parse().unwrap();
    let status = |client: Client, headers: &str| {
        client.ask(address, "/-/healthy", headers).ok().map(|answer| answer.summary[..3].to_owned())
    };
    assert_eq!(status(home.client(), ALICE).as_deref(), Some("200"));
    assert_eq!(status(home.client(), "").as_deref(), Some("401"));
    assert_eq!(told(&["healthcheck", &format!("--url={socket}")]).0, 0);
    let (code, _, error) = told(&["healthcheck", &format!("--url=https://{}", agent.address)]);
    assert!(
        code == 1 && error.contains("the answer is 401 Unauthorized\nhint: let the agent also listen on a Unix socket"),
        "{error}"
    );
    // What stands in the address is told to the agent, and to nobody else.
    let with = |login: &str| told(&["why", "CollectorStuck", &format!("--url=https://{login}@{}", agent.address)]);
    let (code, out, error) = with("alice:gehe%69m");
    assert!(code == 0 && out.contains(&format!("(the agent at https://{}, ", agent.address)), "{out}{error}");
    assert!(!out.contains("alice"), "{out}");
    let (_, out, error) = with("alice:s3cret");
    let refused = format!("get https://{}/api/v1/report: the answer is 401 Unauthorized", agent.address);
    assert!(out.contains(&refused) && !format!("{out}{error}").contains("s3cret"), "{out}{error}");
    let (_, _, error) = told(&["healthcheck", &format!("--url=http://alice:geheim@{}", agent.address)]);
    assert!(error.contains("hint: the agent probably speaks TLS: ask https://"), "{error}");
    assert!(!error.contains("geheim"), "{error}");

    for (headers, expected) in [(WRONG, "401"), ("", "401"), (ALICE, "200")] {
        let answer = home.client().send(address, "POST", "/-/reload", headers).unwrap();
        assert_eq!(&answer.summary[..3], expected, "{headers}");
        let reloads = agent.process.log_lines("configuration reloaded");
        assert_eq!(reloads, usize::from(expected == "200"), "only who knows a password has it read again");
    }
    let foreign = format!("{ALICE}Origin: http://localhost\r\n");
    let answer = home.client().send(address, "POST", "/-/reload", &foreign).unwrap();
    assert_eq!(&answer.summary[..3], "403", "a page that did not come by TLS is of another site");

    // A mistake leaves in force what was there before.
    home.write("tls_server_config:\n  cert_file: none.pem\n");
    let refused = "\"cannot read the web configuration; the previous one stays in force\"";
    wait_for("the mistake", || agent.process.log_lines(refused) == 1);
    let log = agent.process.log();
    let about: Vec<&str> = log.lines().filter(|line| line.contains("none.pem")).collect();
    let said = |line: &&str| line.contains("level=error") && line.contains("in force\"") && line.contains("problems=");
    assert!(!about.is_empty() && about.iter().all(said), "{about:#?}");
    assert_eq!(status(home.client(), ALICE).as_deref(), Some("200"));
    let reload = client::by_socket(&place.join("agent.sock"), "POST", "/-/reload");
    assert!(reload.starts_with("HTTP/1.1 500") && reload.contains("none.pem: no such file"), "{reload}");
    wait_for("the gauge", || {
        let metrics = client::by_socket(&place.join("agent.sock"), "GET", "/metrics");
        metrics.contains("\nstreamgauge_config_last_reload_successful 0")
    });

    let other = Certificate::authority(place, "other");
    let next = other.sign(place, "next", "IP:127.0.0.1");
    home.write("tls_server_config:\n  cert_file: next.pem\n  key_file: next.key\n");
    wait_for("the change", || agent.process.log_lines("web configuration reloaded") == 1);
    assert_eq!(status(home.client(), ""), None, "it is signed by somebody else now");
    let client = || Client::trusting(&other.certificate);
    assert_eq!(status(client(), "").as_deref(), Some("200"), "there are no users any more");
    // A file that is named is followed as well.
    fs::rename(&home.server.key, place.join("next.key")).unwrap();
    fs::rename(&home.server.certificate, &next.certificate).unwrap();
    wait_for("the file", || status(home.client(), "").as_deref() == Some("200"));

    home.write("");
    wait_for("refused", || agent.process.log_lines("turning TLS on or off needs a restart") == 1);
    drop(agent);
    home.write("tls_server_config:\n  cert_file: none.pem\n");
    let config = format!("--config.file={}", place.join("streamgauge.toml").display());
    for command in [&["run"][..], &["config", "check"]] {
        let (code, _, error) = told(&[command, &[config.as_str(), flags[0].as_str()]].concat());
        assert_eq!(code, 2, "{error}");
        assert!(error.contains("/web.yml:2: tls_server_config.cert_file: "), "{error}");
    }
}

/// Scrapes rarely enough that everything can be rotated in between.
fn scrape_yaml(home: &Home, address: &str) -> String {
    let file = |name: &str| home.directory.path().join(name).display().to_string();
    format!(
        "global: {{scrape_interval: 5s, scrape_timeout: 4s}}\nscrape_configs:\n  - job_name: streamgauge\n    scheme: https\n    \
         static_configs: [{{targets: [\"{address}\"]}}]\n    basic_auth: {{username: alice, password_file: {}}}\n    \
         tls_config: {{ca_file: {}, cert_file: {}, key_file: {}}}\n",
        file("password"),
        file("trusted.pem"),
        file("scraper.pem"),
        file("scraper.key")
    )
}

/// Makes all certificates of one generation, for both sides, and new hashes: of the password, which Prometheus 3 does not read
/// again when its file changes, and of a user that the other generation does not have.
fn generation(home: &Home, generation: &str) -> Vec<(PathBuf, &'static str)> {
    let place = home.directory.path();
    let authority = Certificate::authority(place, &format!("{generation}-ca"));
    let server = authority.sign(place, &format!("{generation}-server"), "IP:127.0.0.1");
    let client = authority.sign(place, &format!("{generation}-client"), "DNS:scraper.test");
    let (hash, own) = (hash(), hash());
    let yaml = format!(
        "tls_server_config:\n  cert_file: s.pem\n  key_file: s.key\n  client_ca_file: trusted.pem\n  \
         client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [scraper.test]\nbasic_auth_users:\n  alice: {hash}\n  {generation}: {own}\n"
    );
    let write = |name: &str, text: &str| {
        let path = place.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    vec![
        (authority.certificate, "trusted.pem"),
        (server.certificate, "s.pem"),
        (server.key, "s.key"),
        (client.certificate, "scraper.pem"),
        (client.key, "scraper.key"),
        (write("password.next", "geheim"), "password"),
        (write("web.next", &yaml), "web.yml"),
    ]
}

fn put_in_force(home: &Home, files: Vec<(PathBuf, &'static str)>) {
    files.into_iter().for_each(|(from, to)| fs::rename(from, home.directory.path().join(to)).unwrap());
}

#[test]
fn prometheus_scrapes_through_a_rotation_of_everything() {
    let lab = Lab::find();
    // Each with an agent of its own: no two have their pauses at the same time.
    thread::scope(|scope| {
        for version in PROMETHEUS {
            let lab = &lab;
            scope.spawn(move || scrapes_through_a_rotation(lab, version));
        }
    });
}

fn scrapes_through_a_rotation(lab: &Lab, version: &str) {
    let home = Home::new();
    let place = home.directory.path();
    let path = place.join("app.db");
    drop(database(&path));
    put_in_force(&home, generation(&home, "first"));
    let second = generation(&home, "second");
    let flag = format!("--web.config.file={}", place.join("web.yml").display());
    let agent = Agent::start(place, &watching("", [&path]), &[&flag]);
    wait_for("a report", || agent.process.log().contains("started"));
    let server = lab.prometheus(version, place, &scrape_yaml(&home, &agent.address));
    let scrapes = || server.value("count_over_time(up{job=\"streamgauge\"}[5m])").unwrap_or(0.0);
    let good = || server.value("sum_over_time(up{job=\"streamgauge\"}[5m])").unwrap_or(0.0);
    wait_for("a scrape", || good() >= 1.0);
    let old =
        Client::trusting(&place.join("trusted.pem")).showing(&place.join("scraper.pem"), &place.join("scraper.key"));
    // Right after a scrape, so that all is in force on both sides before the next.
    let before = scrapes();
    wait_for("the next scrape", || scrapes() > before);
    let (before, failed) = (scrapes(), scrapes() - good());
    put_in_force(&home, second);
    wait_for("the rotation", || agent.process.log_lines("web configuration reloaded") >= 1);
    wait_for("scrapes with what is new", || scrapes() >= before + 2.0);
    assert_eq!(scrapes() - good(), failed, "{}", server.process.log());
    assert_eq!(server.value("streamgauge_database_up"), Some(1.0));
    let address = agent.address.parse().unwrap();
    assert!(old.ask(address, "/metrics", ALICE).is_err(), "what was rotated out is not taken any more");
    assert!(http::get(&agent.address, "/metrics", &[]).is_err(), "nor is anybody without TLS");
    let new =
        Client::trusting(&place.join("trusted.pem")).showing(&place.join("scraper.pem"), &place.join("scraper.key"));
    for (headers, expected) in [(ALICE, "200"), (SECOND, "200"), (FIRST, "401")] {
        assert!(new.ask(address, "/-/healthy", headers).unwrap().summary.starts_with(expected), "{headers}");
    }
}
