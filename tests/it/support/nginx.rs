//! A real nginx on loopback, as a proxy in front or as a backend.

use crate::support::{PATIENCE, eventually};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// nginx with these lines in `http { }`; it ends when this is dropped.
pub struct Nginx {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Starts it, and waits until it listens there, as `http` says.
    pub async fn start(listen: SocketAddr, http: &str) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/log;\nevents {{ worker_connections 1024; }}\n\
             http {{\naccess_log off;\nclient_body_temp_path {dir}/body;\nproxy_temp_path {dir}/proxy;\n\
             fastcgi_temp_path {dir}/f;\nuwsgi_temp_path {dir}/u;\nscgi_temp_path {dir}/s;\n{http}\n}}\n"
        );
        let config = folder.path().join("nginx.conf");
        std::fs::write(&config, text).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-c"])
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx: ./dev test installs it");
        let nginx = Nginx {
            child,
            _folder: folder,
        };
        eventually("nginx listens", || {
            TcpStream::connect_timeout(&listen, PATIENCE).is_ok()
        })
        .await;
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
