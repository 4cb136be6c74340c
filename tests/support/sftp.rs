//! The real SFTP servers: OpenSSH's and rclone's, with keys that are made here.

#![allow(dead_code, reason = "each test that includes it uses its own part")]

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};

/// How one logs in on rclone's.
pub const USER: &str = "lab";
pub const PASSWORD: &str = "labpass";

/// Who runs OpenSSH's where the tests run as root, which it wants an account of its own for.
const NOBODY: (&str, u32, u32) = ("games", 5, 60);

/// A key of Ed25519, the same one for each number. None of them opens anything but the servers of tests.
pub fn key(number: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[number; 32]))
}

/// The server's, the user's, and one that is neither's.
pub const HOST: u8 = 1;
pub const CLIENT: u8 = 2;
pub const STRANGER: u8 = 3;

/// A public key as in `authorized_keys`.
pub fn line(key: &PrivateKey) -> String {
    PublicKey::from(key).to_openssh().unwrap()
}

/// Writes a private key that only its owner may read.
pub fn write_key(number: u8, path: &Path) {
    std::fs::write(path, key(number).to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Who logs in on OpenSSH's: whoever runs it.
pub fn user() -> String {
    if is_root() {
        return NOBODY.0.to_owned();
    }
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// OpenSSH's server: the folder `data` of a directory for whoever has the client's key.
pub fn openssh(lab: &Path, directory: &Path, port: u16) -> Command {
    let data = directory.join("data");
    std::fs::create_dir_all(&data).unwrap();
    write_key(HOST, &directory.join("host_key"));
    std::fs::write(directory.join("authorized_keys"), line(&key(CLIENT))).unwrap();
    let (config, place) = (directory.join("sshd_config"), directory.display());
    std::fs::write(
        &config,
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host_key\nAuthorizedKeysFile {place}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             MaxStartups 100:30:200\nSubsystem sftp internal-sftp\nForceCommand internal-sftp -d {}\n",
            data.display()
        ),
    )
    .unwrap();
    let sshd = lab.join("openssh/usr/sbin/sshd");
    let mut command = if is_root() {
        let (user, uid, gid) = NOBODY;
        for path in ["", "data", "host_key", "authorized_keys", "sshd_config"] {
            chown(directory.join(path), Some(uid), Some(gid)).unwrap();
        }
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]).arg(sshd);
        command
    } else {
        Command::new(sshd)
    };
    command.env("LD_LIBRARY_PATH", lab.join("openssh/usr/lib/x86_64-linux-gnu"));
    command.args(["-D", "-e", "-f"]).arg(config);
    command
}

/// rclone's: a directory for a user with a password.
pub fn rclone(lab: &Path, directory: &Path, data: &Path, port: u16) -> Command {
    let host_key: PathBuf = directory.join("host_key");
    write_key(HOST, &host_key);
    let mut command = Command::new(lab.join("py/bin/rclone"));
    command.args(["serve", "sftp", "--addr", &format!("127.0.0.1:{port}"), "--user", USER, "--pass", PASSWORD]);
    command.arg("--key").arg(host_key).args(["--config", ""]).arg(data);
    command
}
